"""Order the techniques of an experiment by validation balanced accuracy over seeds."""

from typing import Any

import click

from entrypoints.command import EXPERIMENT, Command


@click.command(cls=Command, help=__doc__)
@EXPERIMENT
def main(experiment: str | None) -> None:
    """Rank and publish."""
    from leukemia import tracking

    experiment_id = tracking.connect(experiment)
    with tracking.project_run("rank"):
        rank(experiment_id)


def rank(experiment_id: str) -> str:
    """Print the ranking, publish it in MLflow, and return the best run's ID."""
    from leukemia import board, ranking, tracking, views

    tracking.reap(experiment_id)
    kept, left_out = ranking.comparable(tracking.records(experiment_id))
    table = ranking.rank(kept)
    board.publish(experiment_id, table, kept)
    click.echo()
    click.echo(ranking.as_text(table))
    click.echo()
    for line in _terms(kept.iloc[-1], len(left_out)):
        click.echo(line)
    server = tracking.server()
    table_link = views.address(server, experiment_id, board.RANKING)
    charts_link = views.address(server, experiment_id, board.CHARTS, charts=True)
    click.echo(f"The table in MLflow: {table_link}")
    click.echo(f"Curves and pictures: {charts_link}")
    for warning in filter(None, [ranking.uneven(kept), ranking.undecided(table)]):
        click.echo(f"Note: {warning}.")
    return str(table["run_id"].iloc[0])


def _terms(run: Any, left_out: int) -> list[str]:
    """What the table was measured on, for a reader who sees nothing else."""
    lines = [
        f"Ordered by validation balanced accuracy, mean ± standard deviation over seeds; the "
        f"interval is over test subjects, the widest of the seeds'. Sought class: {run.positive}.",
        f"{run.protocol_line}",
        f"Cells: {run.cells}. Budget {run.budget}, {run.image_size} px, {run.note}.",
        "Research use only; not for diagnosis.",
    ]
    if left_out:
        lines.append(f"{left_out} earlier runs on other terms or repeated seeds are left out.")
    return lines


if __name__ == "__main__":
    main()

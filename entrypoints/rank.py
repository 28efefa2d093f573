"""Order the techniques of an experiment by a validation metric, and say what cannot be told."""

from typing import TYPE_CHECKING, Any

import click

from entrypoints.command import EXPERIMENT, METRIC, WAIVE, Command, cache, option
from leukemia.splits import PROTOCOLS

if TYPE_CHECKING:
    import pandas as pd

    from leukemia.ranking.rank import Ranking

OF_PROTOCOL = option(
    "protocol",
    "the runs to rank; auto: the latest run's, of those that keep subjects apart",
    default="auto",
    type=click.Choice(["auto", *PROTOCOLS]),
)


@click.command(cls=Command, help=__doc__)
@OF_PROTOCOL
@METRIC
@WAIVE
@EXPERIMENT
def main(protocol: str, metric: str, waive: set[str], experiment: str | None) -> None:
    """Rank and publish."""
    from leukemia.tracking import runs as tracking

    experiment_id = tracking.connect(experiment)
    with tracking.project_run("rank"):
        rank(experiment_id, protocol, metric, waive)


def rank(experiment_id: str, protocol: str, metric: str, waive: set[str]) -> "tuple[Ranking, str]":
    """Print the ranking and publish it in MLflow; also what was waived."""
    from leukemia.ranking.text import as_text
    from leukemia.tracking import leaderboard as board
    from leukemia.tracking import runs as tracking
    from leukemia.tracking import views

    tracking.reap(experiment_id)
    found, kept, left_out, waived = ranked(experiment_id, protocol, metric, waive)
    board.publish(experiment_id, found, kept, waived)
    click.echo()
    click.echo(as_text(found))
    click.echo()
    for line in filter(None, [waived, *_terms(found, kept.iloc[-1], left_out)]):
        click.echo(line)
    server = tracking.server()
    table_link = views.address(server, experiment_id, board.RANKING)
    charts_link = views.address(server, experiment_id, board.CHARTS, charts=True)
    click.echo(f"The table in MLflow: {table_link}")
    click.echo(f"Curves and pictures: {charts_link}")
    best = found.table.sort_values("rank")["run_id"].tolist()
    if len(best) > 1:
        click.echo(f"Side by side: {views.compare_address(server, experiment_id, best)}")
    return found, waived


def ranked(
    experiment_id: str, protocol: str, metric: str, waive: set[str]
) -> "tuple[Ranking, pd.DataFrame, str, str]":
    """The ranking, the records it was made from, which were left out, what was waived."""
    from leukemia.ranking import rank as ranking
    from leukemia.tracking import records

    asked = None if protocol == "auto" else protocol
    kept, left_out = ranking.comparable(records.training_runs(experiment_id), asked, metric)
    waived = ranking.refuse_leaks(kept, waive)
    tested = records.test_predictions(kept["run_id"], cache())
    text = ranking.left_out_text(left_out, metric)
    return ranking.rank(kept, tested, metric), kept, text, waived


def _terms(found: "Ranking", run: Any, left_out: str) -> list[str]:
    """What the table was measured on, for a reader who sees nothing else."""
    from leukemia.splits.protocol import over_folds

    subjects = found.table["subjects"].max()
    several = (found.table["runs"] > found.table["seeds"]).any()
    lines = [
        *(f"Note: {note}." for note in found.notes),
        f"Ordered by validation {found.metric}, mean ± standard deviation over seeds; intervals "
        f"are over {subjects} test subjects (and seeds, where there are several), since cells of "
        f"one subject are not independent. Positive class: {run.positive}.",
        over_folds(run.protocol_line) if several else run.protocol_line,
        f"Cells: {run.cells}. Budget {run.budget}, {run.image_size} px, {run.note}.",
        "Research use only; not for diagnosis.",
    ]
    return [*lines, left_out] if left_out else lines


if __name__ == "__main__":
    main()

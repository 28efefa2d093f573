"""Order the techniques of an experiment by a validation metric, and say what cannot be told."""

from typing import TYPE_CHECKING, Any

import click

from leukemia.splits import PROTOCOLS

from . import console
from .command import EXPERIMENT, METRIC, WAIVE, Command, option, with_options

if TYPE_CHECKING:
    from leukemia.cells import Cells
    from leukemia.study.results import Ranked

AUTO = "auto"
CHOICE = [
    option(
        "protocol",
        "the runs to rank; auto: those that keep subjects apart",
        default=AUTO,
        type=click.Choice([AUTO, *PROTOCOLS]),
    ),
    option(
        "terms",
        "where runs are of several terms (cells, code, budget, image size ...): the first digits "
        "of those to rank, as the list shows them",
        default="",
    ),
    option(
        "study",
        "the ID of a run of study: the runs of its plan, whatever else there is",
        default="",
    ),
]


@click.command(cls=Command, help=__doc__)
@with_options(*CHOICE, METRIC, WAIVE, EXPERIMENT)
def main(experiment: str | None, **choice: Any) -> None:
    """Rank and publish."""
    from leukemia.tracking import connection, lease, runs

    experiment_id = connection.connect(experiment)
    with runs.project_run("rank"):
        lease.reap(experiment_id)
        publish(experiment_id, ranked(experiment_id, **choice))


def ranked(
    experiment_id: str, protocol: str, terms: str, study: str, metric: str, waive: set[str]
) -> "Ranked":
    """The ranking of the runs that are chosen."""
    from leukemia.study import kept, results

    of_protocol = None if protocol == AUTO else protocol
    keys, planned = kept.kept(study) if study else (None, None)
    return results.rank(
        experiment_id, of_protocol, metric, waive, terms=terms, keys=keys, plan=planned
    )


def publish(experiment_id: str, ranked: "Ranked", cells: "Cells | None" = None) -> None:
    """Publish a ranking in MLflow and print it; cells: for pictures of some of them."""
    from leukemia.study import results

    lines = results.publish(experiment_id, ranked, cells)
    console.say("", *results.as_text(ranked).splitlines(), *lines)


if __name__ == "__main__":
    main()

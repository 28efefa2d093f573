"""Say how small a difference a study would find, before it is run.

From a pilot, the finished runs of an experiment: 2 seeds or more of the baseline, or better of
several techniques; or from standard deviations that are stated.
"""

from typing import Any

import click

from leukemia.errors import UserError

from . import console
from .command import EXPERIMENT, METRIC, WAIVE, Command, numbers, option, with_options
from .rank import CHOICE, ranked

STATED = [
    option(name, text, default=None, type=click.FloatRange(0))
    for name, text in (
        (
            "net_sd",
            "instead of a pilot: the standard deviation that a network adds",
        ),
        ("single_sd", "that a subject adds to a difference in one seed alone"),
        ("lasting_sd", "that a subject adds to a difference in every seed alike"),
    )
]


@click.command(cls=Command, help=__doc__)
@option("subjects", "numbers of tested subjects", default="30,73,150,300", callback=numbers)
@option("seeds", "numbers of seeds", default="2,3,5,10", callback=numbers)
@option("folds", "numbers of folds", default="3,5", callback=numbers)
@option("contrasts", "how many techniques are compared", default=5, type=click.IntRange(1))
@with_options(*STATED, *CHOICE, METRIC, WAIVE, EXPERIMENT)
def main(
    subjects: list[int],
    seeds: list[int],
    folds: list[int],
    contrasts: int,
    net_sd: float | None,
    single_sd: float | None,
    lasting_sd: float | None,
    metric: str,
    experiment: str | None,
    **choice: Any,
) -> None:
    """Print the table and keep it with its curve."""
    from leukemia.ranking import power, power_plot
    from leukemia.study import pilot
    from leukemia.tracking import connection

    for name, least, given in (("subjects", 4, subjects), ("seeds", 2, seeds), ("folds", 2, folds)):
        pilot.design(given, least, name)
    deviations = [net_sd, single_sd, lasting_sd]
    known = [each for each in deviations if each is not None]
    if 0 < len(known) < len(deviations):
        raise UserError("give net_sd, single_sd and lasting_sd, all three; or none, and a pilot")
    if known:
        measured = pilot.stated(*known)
    else:
        experiment_id = connection.connect(experiment)
        measured = pilot.of_ranked(ranked(experiment_id, metric=metric, **choice))
    grid = power.Grid(subjects=subjects, seeds=seeds, folds=folds, contrasts=contrasts)
    table = grid.table(measured.components)
    text = pilot.as_text(measured, table, metric, contrasts)
    picture = power_plot.figure(table, metric, measured.about)
    console.say(*text.splitlines(), pilot.publish(experiment, text, table, picture))


if __name__ == "__main__":
    main()

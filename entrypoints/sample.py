"""Draw a sample of simulated cells in the layout of C-NMC 2019, to try the service on.

No patient's cells: figures measured on them say nothing about leukemia.
"""

from pathlib import Path

import click

from . import console
from .command import Command, option


@click.command(cls=Command, help=__doc__)
@option("out", "folder to draw into", default="sample", type=click.Path(path_type=Path))
@option("seed", "decides every pixel", default=7, type=click.IntRange(0))
@option("cells", "how many cells in all, two or more a subject", default=570)
@option("subjects", "how many subjects in all, a multiple of 18", default=36)
def main(out: Path, seed: int, cells: int, subjects: int) -> None:
    """Draw the sample unless it is there."""
    from leukemia.data.index import open_index
    from leukemia.data.sample import draw_sample

    draw_sample(out, seed, cells, subjects, progress=console.bar("drawing cells"))
    console.say(f"{out}: {open_index(out).describe()}")


if __name__ == "__main__":
    main()

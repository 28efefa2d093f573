"""Classify image files or folders of them with a registered model.

Prints path, probability and label for each. Research use only; not for diagnosis.
"""

from pathlib import Path

import click

from entrypoints.command import CHAMPION, Command, option, quietly

ENDINGS = {".bmp", ".png", ".jpg", ".jpeg", ".tif", ".tiff"}


@click.command(cls=Command, help=__doc__)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@option("model", "model URI: a registered alias or version, or a run's model", default=CHAMPION)
@option(
    "csv", "also write the rows to this CSV file", default=None, type=click.Path(path_type=Path)
)
@quietly
def main(images: tuple[Path, ...], model: str, csv: Path | None) -> None:
    """Classify."""
    import numpy as np
    import pandas as pd

    from leukemia.data.files import write_atomically
    from leukemia.data.store import read_image
    from leukemia.registry.served import load, probabilities
    from leukemia.tracking import runs as tracking

    paths = found(images)
    tracking.connect()
    with tracking.project_run("predict"):
        served = load(model)
        cells = np.stack([read_image(path, served.geometry) for path in paths])
        scores = probabilities(served, cells)
        called = scores.astype(np.float64) >= served.threshold
        labels = np.where(called, served.positive, served.negative)
        rows = pd.DataFrame({"path": map(str, paths), "probability": scores, "label": labels})
        click.echo(
            f"# {served.about} Probability of '{served.positive}', called from {served.threshold}."
        )
        click.echo("# Research use only; not for diagnosis.")
        text = rows.to_csv(index=False, float_format="%.4f")
        click.echo(text, nl=False)
        if csv:
            write_atomically(csv, text.encode())


def found(images: tuple[Path, ...]) -> list[Path]:
    """The image files named, and those below the folders named, in order."""
    from leukemia.errors import UserError

    paths: list[Path] = []
    for path in images:
        if path.is_dir():
            inside = [each for each in sorted(path.rglob("*")) if each.suffix.lower() in ENDINGS]
            if not inside:
                raise UserError(f"{path}: no image files below (looked for {' '.join(ENDINGS)})")
            paths += inside
        elif path.is_file():
            paths.append(path)
        else:
            raise UserError(f"{path}: no such file or folder; give images or folders of them")
    return paths


if __name__ == "__main__":
    main()

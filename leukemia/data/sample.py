"""The drawn sample: white blood cells that a program draws from a seed, on disk as C-NMC 2019 is.

It lets a new user run everything before downloading anything. Blasts (ALL) are larger on
average than normal precursors (HEM), more indented, with finer chromatin and more nucleoli,
but the two overlap. Every subject has a stain, a light, a size and a sharpness of its own and
one label, as in the genuine set, so a split that mixes subjects flatters the result here too.

No patient is behind these cells: metrics on them say nothing about leukemia.
"""

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from leukemia.cells import NEGATIVE, POSITIVE, Cells
from leukemia.data.drawing import CANVAS, GENERATOR_VERSION, draw_cell, draw_style
from leukemia.data.drawn import MARKER, marker_in
from leukemia.errors import UserError

FOLDER = "C-NMC_Leukemia"
DEFAULT_CELLS = 570  # 420 to train on and 150 preliminary: 347 MB of bitmaps

DEFAULT_SUBJECTS = 36  # a third in each class to train on, a sixth in each preliminary

FOLDS = 3
SUBJECTS_STEP = 18  # so that every fold has as many subjects of each class
PRELIMINARY_SHARE = 150 / 570
FIRST_PRELIMINARY = {
    POSITIVE: 53,
    NEGATIVE: 25,
}  # where C-NMC 2019 starts to number them
SUFFIX = {POSITIVE: "all", NEGATIVE: "hem"}

Progress = Callable[[int, int], None]  # (cells drawn, cells in all)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A cell that is still to be drawn: its subject, its label and its place in the smear."""

    subject: str
    label: int
    image: int
    cell: int
    seed: tuple[int, ...]

    @property
    def name(self) -> str:
        """Its file name in C-NMC 2019's manner."""
        return f"UID_{self.subject}_{self.image}_{self.cell}_{SUFFIX[self.label]}.bmp"


# What to draw, and where it goes


def draw_sample(
    root: Path,
    seed: int = 7,
    cells: int = DEFAULT_CELLS,
    subjects: int = DEFAULT_SUBJECTS,
    progress: Progress | None = None,
) -> Path:
    """Draw `cells` cells under `root`/C-NMC_Leukemia and return that folder.

    Two ALL cells for one HEM cell; half of the `subjects` have each label. Two thirds of them
    train, as many in each of the three folds, and the others are the preliminary set. A cell
    takes 608,454 bytes.
    The folder appears only when it is whole, and is left alone if it is there already.

    Raises:
        UserError: the folder holds anything but this very sample, `cells` is too few, or
            `subjects` is no multiple of 18.
    """
    target = Path(root) / FOLDER
    marker = _marker(seed, cells, subjects)
    training, preliminary = _plan_sample(seed, cells, subjects)
    if _is_there(target, marker):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".drawing-", dir=target.parent) as scratch:
        drawing = Path(scratch) / FOLDER
        report = _counter(progress, cells)
        _write_training(drawing / "training_data", training, report)
        _write_preliminary(drawing / "validation_data", preliminary, report)
        (drawing / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
        _publish(drawing, target, marker)
    return target


def draw_cells(n: int, seed: int = 7, size: int = 210, subjects: int = 24) -> Cells:
    """`n` drawn cells in memory, cut to the central `size` x `size` px, two ALL for one HEM.

    Half of the `subjects` have each label, with unequal numbers of cells.
    images: (n, size, size, 3) uint8, RGB; cell_id: `drawn:NAME`.
    """
    rng = np.random.default_rng(seed)
    names = {
        POSITIVE: range(1, subjects // 2 + 1),
        NEGATIVE: range(1, subjects // 2 + 1),
    }
    plan = _plan(rng, seed, n, names)
    images = np.empty((n, size, size, 3), np.uint8)
    for row, planned in enumerate(plan):
        images[row] = _draw(planned, size)
    return Cells(
        images=images,
        labels=np.array([planned.label for planned in plan], np.int8),
        subjects=np.array([planned.subject for planned in plan]),
        cell_id=np.array([f"drawn:{planned.name}" for planned in plan]),
    )


def _plan_sample(seed: int, cells: int, subjects: int) -> tuple[list[Planned], list[Planned]]:
    if subjects < SUBJECTS_STEP or subjects % SUBJECTS_STEP:
        raise UserError(
            f"A drawn sample of {subjects} subjects cannot fill three folds and a preliminary "
            f"set evenly: ask for a multiple of {SUBJECTS_STEP}."
        )
    if cells < 2 * subjects:
        raise UserError(
            f"A drawn sample of {cells} cells cannot give every subject a cell: "
            f"ask for at least {2 * subjects} cells, or fewer subjects."
        )
    rng = np.random.default_rng(seed)
    preliminary = round(cells * PRELIMINARY_SHARE)
    train, later = subjects // 3, subjects // 6
    training_names = {label: range(1, 1 + train) for label in SUFFIX}
    first = {label: max(start, 1 + train) for label, start in FIRST_PRELIMINARY.items()}
    preliminary_names = {label: range(first[label], first[label] + later) for label in SUFFIX}
    training = _plan(rng, seed, cells - preliminary, training_names)
    return training, _plan(rng, seed, preliminary, preliminary_names)


def _plan(
    rng: np.random.Generator, seed: int, cells: int, numbers: dict[int, range]
) -> list[Planned]:
    """The cells of the subjects with these `numbers`, a class, in an order that tells nothing."""
    positive = round(cells * 2 / 3)
    plan: list[Planned] = []
    for label, count in ((POSITIVE, positive), (NEGATIVE, cells - positive)):
        shares = _unequal_shares(rng, count, len(numbers[label]))
        for number, share in zip(numbers[label], shares, strict=True):
            plan.extend(_plan_subject(rng, seed, number, label, share))
    return [plan[row] for row in rng.permutation(len(plan))]


def _plan_subject(
    rng: np.random.Generator, seed: int, number: int, label: int, cells: int
) -> Iterator[Planned]:
    """`cells` cells of one subject, one to four in each image of its smear."""
    subject = f"{number}" if label == POSITIVE else f"H{number}"
    image, cell, in_image = 1, 0, rng.integers(1, 5)
    for _ in range(cells):
        if cell == in_image:
            image, cell, in_image = image + 1, 0, rng.integers(1, 5)
        cell += 1
        yield Planned(
            subject=subject,
            label=label,
            image=image,
            cell=cell,
            seed=(seed, label, number, image, cell),
        )


def _unequal_shares(rng: np.random.Generator, total: int, parts: int) -> list[int]:
    """`total` in `parts` unequal whole numbers, none below a quarter of the mean nor, if it
    can be helped, below 1."""
    least = min(max(1, total // (4 * parts)), total // parts)
    weights = rng.dirichlet(np.full(parts, 2.5))
    shares: list[int] = (least + rng.multinomial(total - least * parts, weights)).tolist()
    return shares


# Files


def _marker(seed: int, cells: int, subjects: int) -> dict[str, str | int]:
    return {
        "kind": "drawn cells",
        "seed": seed,
        "cells": cells,
        "subjects": subjects,
        "generator_version": GENERATOR_VERSION,
        "note": (
            "Drawn by a program from a seed; no patient. "
            "Figures measured on them say nothing about leukemia."
        ),
    }


def _is_there(target: Path, marker: dict[str, str | int]) -> bool:
    """Whether `target` holds this very sample; False if nothing is there.

    Raises:
        UserError: something else is there.
    """
    if not os.path.lexists(target):
        return False
    existing = _marker_of(target)
    if existing == marker:
        return True
    raise UserError(
        f"{target} holds {_described(existing)}, not {_described(marker)}: "
        "name another folder, or move this one away first."
    )


def _marker_of(target: Path) -> dict[str, str | int] | None:
    try:
        marker = json.loads(marker_in(target).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return marker if isinstance(marker, dict) else None


def _described(marker: dict[str, str | int] | None) -> str:
    if marker is None:
        return f"files without a readable {MARKER} (perhaps the genuine C-NMC 2019)"
    cells, subjects, seed = (marker.get(k) for k in ("cells", "subjects", "seed"))
    version = marker.get("generator_version")
    return (
        f"a drawn sample of {cells} cells of {subjects} subjects "
        f"(seed {seed}, generator version {version})"
    )


def _publish(drawing: Path, target: Path, marker: dict[str, str | int]) -> None:
    """Move the finished `drawing` to `target`, unless another process was faster."""
    if _is_there(target, marker):
        return
    try:
        os.replace(drawing, target)
    except OSError:
        if not _is_there(target, marker):
            raise


def _counter(progress: Progress | None, total: int) -> Callable[[], None]:
    """A function to call after each cell, which tells `progress` how many are done."""
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return count


def _write_training(folder: Path, plan: list[Planned], drawn: Callable[[], None]) -> None:
    for planned in plan:
        fold = int(planned.subject.removeprefix("H")) % FOLDS
        path = folder / f"fold_{fold}" / SUFFIX[planned.label] / planned.name
        _write(path, planned)
        drawn()


def _write_preliminary(folder: Path, plan: list[Planned], drawn: Callable[[], None]) -> None:
    images = folder / "C-NMC_test_prelim_phase_data"
    for number, planned in enumerate(plan, start=1):
        _write(images / f"{number}.bmp", planned)
        drawn()
    labels = folder / "C-NMC_test_prelim_phase_data_labels.csv"
    with labels.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)  # ends lines with CRLF, as the genuine file does
        rows.writerow(["Patient_ID", "new_names", "labels"])
        rows.writerows([p.name, f"{n}.bmp", p.label] for n, p in enumerate(plan, start=1))


def _write(path: Path, planned: Planned) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_draw(planned, CANVAS)).save(path, format="BMP")


# One cell


def _draw(planned: Planned, size: int) -> np.ndarray:
    seed, label, number, *_ = planned.seed
    style = draw_style(np.random.default_rng([seed, label, number]))
    rng = np.random.default_rng(planned.seed)
    return draw_cell(rng, planned.label == POSITIVE, style, size)

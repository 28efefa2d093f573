"""Sections on what else the thesis states: class counts, tables of others' work, its settings."""

from collections.abc import Sequence

from leukemia.evaluation.reported import Reported, agrees, recompute
from leukemia.evaluation.validators import Problem, check, check_classes, check_many, check_sum
from leukemia.thesis import numbers
from leukemia.thesis.document import Bullets, Paragraph, Section, Table
from leukemia.thesis.matrices import doubled
from leukemia.thesis.numbers import FIGURE_36, PUBLISHED, Rows, Setup, Technique

DOUBTED_RATE = 0.1  # of Adam, which moves a weight by about its rate at every step


def class_counts_section(techniques: Sequence[Technique]) -> Section:
    """Numbers of cells that contradict each other."""
    rows = tuple((each.name, f"{each.text}.") for each in _class_count_problems(techniques))
    lost = numbers.TRAIN_CELLS[1] - numbers.CLASSES_DCGAN[1]
    table = Table(
        caption="Numbers of cells that do not add up.",
        head=("where", "what does not fit"),
        rows=rows,
    )
    text = (
        f"C-NMC 2019 has {numbers.TRAIN_CELLS[0]:,} ALL and {numbers.TRAIN_CELLS[1]:,} HEM "
        f"training cells (4.2.1). Later sections train on {numbers.CLASSES_DCGAN[1]:,} HEM; what "
        f"became of the other {lost:,} is not said."
    )
    return Section(title="Class counts", blocks=(Paragraph(text=text), table))


def _class_count_problems(techniques: Sequence[Technique]) -> list[Problem]:
    (all_cells, hem), train = numbers.CLASSES_DCGAN, sum(numbers.TRAIN_CELLS)
    exceeded = [
        Problem(
            name=f"{each.name}'s matrix ({each.section})", rule="cells exist", text="; ".join(texts)
        )
        for each in techniques
        if (texts := [p.text for p in check(each.reported) if p.rule == "cells exist"])
    ]
    return [
        *check_sum(
            "HEM after balancing, against ALL (4.4.1)",
            {"HEM": hem, "made": numbers.MADE_DCGAN},
            all_cells,
        ),
        *check_sum(
            "the 80 / 20 split of the training cells (4.2.2)",
            {"train": numbers.SPLIT_TRAIN, numbers.TEST_SET: numbers.SPLIT_TEST},
            train,
        ),
        *check_classes("classes of the weighted run (4.6)", *numbers.CLASSES_WEIGHTED),
        *exceeded,
    ]


def impossible(rows: Rows) -> list[str]:
    """The names in a table of results whose accuracy cannot go with the rest of their row."""
    problems = check_many(reported for _, reported in rows)
    return [problem.name for problem in problems if problem.rule == "accuracy between"]


def figure_35_section(rows: Rows, techniques: Sequence[Technique]) -> Section:
    """The thesis' comparison with others, its impossible rows marked."""
    lines = tuple(
        (
            reported.name,
            str(year),
            *(
                str(reported.figures.get(n, "-"))
                for n in ("sensitivity", "specificity", "accuracy")
            ),
            "; ".join(_remarks_35(reported, rows, techniques)),
        )
        for year, reported in rows
    )
    marked = frozenset(n for n, (_, r) in enumerate(rows) if r.name in impossible(rows))
    head = ("researcher", "year", "sensitivity", "specificity", "accuracy", "what is wrong")
    note = (
        "Accuracy is the mean of sensitivity and specificity, weighted by the shares of the "
        "classes, so it lies between them in every two-class test. Means over more than two "
        "classes, or over unequal folds, need not: a marked row may be such a mean, but then it "
        "cannot stand beside the others."
    )
    table = Table(
        caption="Figure 35 (4.9). Marked: cannot be of a two-class test.",
        head=head,
        rows=lines,
        marked=marked,
    )
    return Section(
        title="Its comparison with others (Figure 35)", blocks=(Paragraph(text=note), table)
    )


def _remarks_35(reported: Reported, rows: Rows, techniques: Sequence[Technique]) -> list[str]:
    remarks = []
    for problem in check_many([*(each for _, each in rows), numbers.GHADERZADEH]):
        names = problem.name.split(", ")
        if problem.rule == "matrix is its own" and reported.name in names:
            others = " and ".join(each for each in names if each != reported.name)
            remarks.append(f"the same figures as {others}")
        elif problem.name == reported.name:
            remarks.append(problem.text)
    own = next((each for each in techniques if each.name == "dcgan"), None)
    if reported.name == numbers.OWN and own and own.reported.counts:
        values = recompute(own.reported.counts)
        wrong = [n for n, told in reported.figures.items() if not agrees(told, values[n])]
        remarks += [f"its own counts give {n} {values[n]:.4f}" for n in wrong]
        remarks += ["counted on training images, each twice"] if own in doubled([own]) else []
    return remarks


def figure_36_section(techniques: Sequence[Technique]) -> Section:
    """The settings that the thesis compares, with what contradicts its own text."""
    remarks = [_remark_36(row, techniques) for row in FIGURE_36]
    lines = tuple(
        (row.name, str(row.year), row.optimizer, f"{rate_text(row.learning_rate)}", row.loss,
         str(row.batch or "-"), remark)
        for row, remark in zip(FIGURE_36, remarks, strict=True)
    )  # fmt: skip
    marked = frozenset(
        n for n, row in enumerate(FIGURE_36) if row.name == numbers.OWN and lines[n][-1]
    )
    head = ("researcher", "year", "optimizer", "learning rate", "loss", "batch", "what is wrong")
    table = Table(
        caption="Figure 36 (4.9). Marked: not what its own section says.",
        head=head,
        rows=lines,
        marked=marked,
    )
    return Section(title="Its comparison of settings (Figure 36)", blocks=(table,))


def _remark_36(row: Setup, techniques: Sequence[Technique]) -> str:
    if row.name == numbers.OWN:
        rates = {t.name: {t.schedule.transfer.learning_rate, t.schedule.fine_tune.learning_rate}
                 for t in techniques}  # fmt: skip
        own = rates.get("dcgan", {row.learning_rate})
        others = [name for name, of in rates.items() if row.learning_rate in of]
        if row.learning_rate in own:
            return ""
        told = " and ".join(f"{rate_text(rate)}" for rate in sorted(own))
        elsewhere = (
            f"; {rate_text(row.learning_rate)} is a rate of {' and '.join(others)}"
            if others
            else ""
        )
        return f"its DC-GAN section (4.4) trains with {told} in both stages{elsewhere}"
    if row.optimizer == "Adam" and row.learning_rate >= DOUBTED_RATE:
        return (
            f"doubted: Adam moves a weight by about its rate at every step (Kingma & Ba 2015), so "
            f"{rate_text(row.learning_rate)} would undo any pretraining"
        )
    return ""


def terms_section(techniques: Sequence[Technique]) -> Section:
    """What each technique was trained with, and what else does not fit."""
    lines = tuple(
        (
            f"{each.name} ({each.section})",
            *(
                f"{rate_text(stage.learning_rate)} / {stage.epochs}"
                for stage in (each.schedule.transfer, each.schedule.fine_tune)
            ),
            str(each.schedule.epochs),
            each.balancing,
        )
        for each in techniques
    )
    head = ("technique", "transfer: rate / epochs", "fine-tuning: rate / epochs", "epochs", "cure")
    table = Table(caption="Adam's rate and the epochs of both stages.", head=head, rows=lines)
    return Section(title="Unequal terms", blocks=(table, Bullets(items=tuple(_terms(techniques)))))


def _terms(techniques: Sequence[Technique]) -> list[str]:
    epochs = [each.schedule.epochs for each in techniques]
    all_weight, hem_weight = numbers.WEIGHTS
    all_cells, hem_cells = numbers.TRAIN_CELLS
    told = f"{', '.join(map(str, epochs[:-1]))} and {epochs[-1]}" if len(epochs) > 1 else ""
    unequal = (
        f"Epochs differ ({told}), so technique and training time cannot be separated. Here "
        f"`budget=equal` gives all the same, `budget=thesis` these."
    )
    return [
        *([unequal] if len(set(epochs)) > 1 else []),
        f"The class weights {all_weight:g} and {hem_weight:g} are a ratio of "
        f"{hem_weight / all_weight:g} (4.6); the formula of section 2.6 gives "
        f"{all_cells / hem_cells:.2f} on the cells of 4.2.1.",
        "What section 4.6 names weighted random sampling is a weight in the loss. A sampler is "
        "another technique; here it is `-P mode=sampler`.",
        f"Made cells are {numbers.GAN_SIZE} px and are enlarged to the classifier's "
        f"{numbers.IMAGE_SIZE} px (4.4, 4.2.2): blur alone can tell them from real ones.",
        f"The GAN is set to {numbers.GAN_EPOCHS[0]:,} epochs (4.4) and trained for "
        f"{numbers.GAN_EPOCHS[1]:,} (4.4.2).",
        f"Images are called {numbers.FULL_SIZE} px (4.2.2); the files are {numbers.FILE_SIZE} px.",
    ]


def rate_text(rate: float) -> str:
    """A learning rate as short as it can be read: 0.001, 1e-6."""
    return f"{rate:g}".replace("e-0", "e-")


def f1_range() -> tuple[float, float]:
    """The lowest and highest F1, of both classes or one, that others reach with subjects apart."""
    values = [
        float(value)
        for each in PUBLISHED
        for measures in (each.preliminary, each.final)
        for name, value in measures.items()
        if "F1" in name
    ]
    return min(values), max(values)


def published_section() -> Section:
    """What others reach with subjects kept apart."""
    rows = tuple(
        (each.work, _measures(each.preliminary), _measures(each.final), each.note)
        for each in PUBLISHED
    )
    cells, subjects = sum(numbers.PRELIMINARY_CELLS), numbers.PRELIMINARY_SUBJECTS
    table = Table(
        caption="C-NMC 2019, no subject in two splits.",
        head=(
            "work",
            f"preliminary set ({cells:,} cells, {subjects} unseen subjects)",
            "final set",
            "note",
        ),
        rows=rows,
    )
    return Section(
        title="What others reach with subjects kept apart",
        blocks=(table, Bullets(items=numbers.FOUND)),
    )


def _measures(named: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in named.items()) or "-"

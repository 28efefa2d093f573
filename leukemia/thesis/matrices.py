"""Sections on the thesis' confusion matrices: what they give, and why they cannot be as told."""

import math
from collections.abc import Sequence

from leukemia.evaluation.reported import METRICS, agrees, both_outputs_right, recompute, value_of
from leukemia.evaluation.validators import RULES, Problem, check, check_many
from leukemia.thesis import numbers
from leukemia.thesis.document import Block, Bullets, Paragraph, Picture, Section, Table
from leukemia.thesis.numbers import Technique

Techniques = Sequence[Technique]


def problems(techniques: Techniques) -> list[Problem]:
    """Whatever the validators find in the techniques' figures and matrices."""
    return check_many(each.reported for each in techniques)


def printed(techniques: Techniques) -> list[Technique]:
    """The techniques with a matrix."""
    return [each for each in techniques if each.reported.counts]


def doubled(techniques: Techniques) -> list[Technique]:
    """The techniques whose matrix bears the mark of images counted twice."""
    return [t for t in techniques if "counted once" in {p.rule for p in check(t.reported)}]


def verdict(techniques: Techniques) -> list[Technique]:
    """The techniques with a validation accuracy, in the thesis' own order (4.8)."""
    both = [each for each in techniques if each.val_accuracy and each.place]
    return sorted(both, key=lambda each: each.place or 0)


def validated(techniques: Techniques) -> list[Technique]:
    """The same techniques by validation accuracy, best first."""
    return sorted(verdict(techniques), key=lambda each: -value_of(each.val_accuracy or 0))


def compared(techniques: Techniques) -> str:
    """How the order by validation accuracy stands to the thesis' verdict."""
    ours, theirs = validated(techniques), verdict(techniques)
    if ours == theirs:
        return "the same as"
    return "the reverse of" if ours == theirs[::-1] else "another than"


def recomputed_section(techniques: Techniques) -> Section:
    """Reported figures beside those that the printed counts give."""
    caption = (
        "Reported / from the counts that the same section prints (ALL positive). Bold and "
        "marked: no rounding or cutting off leads from one to the other."
    )
    head = ("technique (section)", *METRICS, "TP / FN / FP / TN")
    rows = tuple(_recomputed_row(each) for each in techniques)
    marked = frozenset(n for n, row in enumerate(rows) if any("**" in cell for cell in row))
    picture = Picture(
        name="recomputed", caption="What is reported, and what the same section's counts give."
    )
    return Section(
        title="Reported against recomputed",
        blocks=(Table(caption=caption, head=head, rows=rows, marked=marked), picture),
    )


def _recomputed_row(technique: Technique) -> tuple[str, ...]:
    reported, counts = technique.reported, technique.reported.counts
    values = recompute(counts) if counts else {}
    cells = []
    for name in METRICS:
        told, value = reported.figures.get(name), values.get(name)
        cell = f"{told or '-'} / {'-' if value is None else format(value, '.4f')}"
        wrong = told is not None and value is not None and not agrees(told, value)
        cells.append(f"**{cell}**" if wrong else "-" if cell == "- / -" else cell)
    four = " / ".join(map(str, vars(counts).values())) if counts else "none in the text"
    return (f"{technique.name} ({technique.section})", *cells, four)


def order_section(techniques: Techniques) -> Section:
    """The thesis' ranking against its validation accuracy."""
    best = validated(techniques)
    told = ", ".join(f"{each.name} {each.val_accuracy}" for each in best)
    text = f"By validation accuracy: {told}; {compared(techniques)} the verdict of section 4.8."
    silent = [t.name for t in techniques if not t.reported.figures and not t.val_accuracy]
    if silent:
        text += (
            f" For {' and '.join(silent)} the text gives no figure at all: whether any technique "
            f"beats it cannot be read from the thesis."
        )
    table = Table(
        caption="The thesis' verdict (4.8) and its accuracies. Validation cells are not of other "
        "subjects either, so its last column is no figure for unseen patients.",
        head=(
            "technique",
            "verdict",
            "reported accuracy",
            "from its counts",
            "validation accuracy",
        ),
        rows=tuple(_order_row(each) for each in sorted(techniques, key=lambda t: t.place or 99)),
    )
    picture = Picture(
        name="order", caption="The thesis' verdict, and the order by its validation accuracy."
    )
    return Section(title="The ranking turned over", blocks=(Paragraph(text=text), table, picture))


def _order_row(technique: Technique) -> tuple[str, ...]:
    counts = technique.reported.counts
    return (
        technique.name,
        str(technique.place or "not ranked"),
        str(technique.reported.accuracy or "-"),
        f"{recompute(counts)['accuracy']:.4f}" if counts else "-",
        technique.val_accuracy or "-",
    )


def findings_section(techniques: Techniques) -> Section:
    """Every broken rule, technique by technique."""
    text = (
        "Each row is a contradiction, not a matter of rounding: whatever can be rounded or cut "
        "off to the printed decimals passes. `leukemia.evaluation.validators` runs the same rules "
        "on any paper's figures."
    )
    broken: dict[tuple[str, str], list[str]] = {}
    for problem in problems(techniques):
        broken.setdefault((problem.name, RULES[problem.rule]), []).append(problem.text)
    rows = tuple((name, rule, "; ".join(texts)) for (name, rule), texts in broken.items())
    table = Table(
        caption="What the validators find.",
        head=("result", "rule that is broken", "how"),
        rows=rows,
    )
    return Section(title="Findings", blocks=(Paragraph(text=text), table))


def counted_twice_section(techniques: Techniques) -> Section:
    """The argument that each image was counted twice, and how far it goes."""
    counted_twice = doubled(techniques)
    if not counted_twice:
        return Section(
            title="Counted twice?", blocks=(Paragraph(text="No matrix bears the mark of it."),)
        )
    blocks: list[Block] = [
        Paragraph(
            text="Keras' counters run over every output. With one output a class and one-hot "
            "labels an image is a positive of one output and a negative of the other, so that "
            "TP + FN and FP + TN are both the number of images, whatever the classes are."
        ),
        _doubled_table(counted_twice),
        Paragraph(text="**What follows**"),
        Bullets(
            items=(
                *(text for each in counted_twice for text in _follows(each)),
                *_outputs(counted_twice),
            )
        ),
        Paragraph(text="**What does not follow**"),
        Bullets(
            items=(
                "Which class is missed more often: both classes are in every count, so these "
                "sensitivities and specificities are of no class.",
                "How good a network is on new patients: nothing in these matrices is held out.",
                f"That {numbers.SHARES[1]:g} was the second cut: it is not in the text, it is what "
                f"makes the number exact.",
            )
        ),
    ]
    return Section(title="Each image was counted twice", blocks=tuple(blocks))


def _doubled_table(techniques: Techniques) -> Table:
    head = ("technique", "TP + FN", "FP + TN", "counts", "images", "right in both outputs")
    rows = []
    for each in techniques:
        counts = each.reported.counts
        assert counts is not None  # doubled() looks at matrices only
        images = counts.tp + counts.fn
        low, high = both_outputs_right(counts)
        rows.append(
            (each.name, f"{images:,}", f"{counts.fp + counts.tn:,}", f"{2 * images:,}",
             f"{images:,}", f"{low:.4f} to {high:.4f}")
        )  # fmt: skip
    return Table(
        caption="The sums, and what they mean if each image is counted twice.",
        head=head,
        rows=tuple(rows),
    )


def _follows(technique: Technique) -> list[str]:
    counts = technique.reported.counts
    assert counts is not None  # doubled() looks at matrices only
    images, texts = counts.tp + counts.fn, []
    if technique.name == "dcgan":
        texts += _pool(images)
    if technique.name == "adasyn" and images == numbers.PER_CLASS_ADASYN:
        texts.append(
            f"adasyn: section {technique.section} gives {images:,} as the images of each class. "
            f"It is the counters' sum; only {numbers.LABELLED[0]:,} labelled ALL images exist."
        )
    if technique.name == "weighted" and images > numbers.SPLIT_TRAIN:
        texts.append(
            f"weighted: weights make no images, and section {technique.section} trains on "
            f"{numbers.SPLIT_TRAIN:,}. {images:,} are more, even if each is counted twice: the "
            f"matrix cannot be of that training set."
        )
    return texts


def _outputs(techniques: Techniques) -> list[str]:
    """Which outputs the matrices are of: with a softmax an image is wrong in both or in none."""
    names = [
        each.name
        for each in techniques
        if each.reported.counts and each.reported.counts.fn != each.reported.fp
    ]
    if not names:
        return []
    return [
        f"{', '.join(names)}: FN is not FP, as it would be if an image's two outputs summed to "
        f"one (softmax). Two sigmoids under binary cross-entropy (4.3) give such counts."
    ]


def _pool(images: int) -> list[str]:
    """What the size of the DC-GAN's matrix says of the cells that were pooled and split."""
    all_cells, hem = numbers.CLASSES_DCGAN
    pool = f"{all_cells:,} ALL + {hem:,} HEM + {numbers.MADE_DCGAN:,} made (4.4.1)"
    texts = []
    if 2 * images > numbers.POOL:
        texts.append(
            f"dcgan: 2 x {images:,} = {2 * images:,} counts are more than the {numbers.POOL:,} "
            f"images that there were: {pool}."
        )
    if math.isclose(math.prod(numbers.SHARES) * numbers.POOL, images):
        shares = " x ".join(f"{share:g}" for share in numbers.SHARES)
        texts.append(
            f"dcgan: {images:,} = {shares} x {numbers.POOL:,}, to the image. So real and made "
            f"cells were pooled, then cut twice at random, and the matrix is of the training part."
        )
    return texts

"""What the thesis says in one place and contradicts in another: claim by claim, with its place."""

from collections.abc import Sequence
from dataclasses import dataclass

from leukemia.splits import THESIS_PRELIMINARY
from leukemia.thesis import cited, numbers
from leukemia.thesis.document import Paragraph, Section, Table
from leukemia.thesis.numbers import Technique


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement of the thesis: about what, where it stands, what it says, what follows."""

    about: str
    place: str
    says: str
    follows: str


def section(techniques: Sequence[Technique]) -> Section:
    """The claims as a table."""
    table = Table(
        caption="Each claim with its place in the thesis.",
        head=("claim", "place", "what it says", "what follows"),
        rows=tuple(
            (each.about, each.place, each.says, each.follows) for each in all_of(techniques)
        ),
    )
    text = (
        "What the thesis says in one section and contradicts in another, or with its own figures."
    )
    return Section(title="Claims that do not hold", blocks=(Paragraph(text=text), table))


def all_of(techniques: Sequence[Technique]) -> list[Claim]:
    """Every claim, in the order of the thesis."""
    return [
        *(_row_of_figure(each) for each in cited.broken()),
        test_set(),
        left_out(),
        *(overfitting(each, techniques) for each in techniques if each.place == 1),
        hours(),
    ]


def _row_of_figure(row: cited.Cited) -> Claim:
    told = ", ".join(f"{name} {value}" for name, value in row.reported.figures.items())
    follows = cited.what_follows(row)
    rose = f"; accuracy rose from {row.before}" if row.before else ""
    return Claim(
        about=f"{row.reported.name} {row.year}",
        place=f"2.9, Figure {row.figure}",
        says=f"{told}{rose}.",
        follows=f"{follows[0].upper()}{follows[1:]}. The row cannot be of one "
        f"two-class test, so it is no evidence for balancing by a GAN.",
    )


def test_set() -> Claim:
    """Which cells the thesis calls its test set."""
    train, cells = sum(numbers.TRAIN_CELLS), numbers.SPLIT_TEST
    all_cells, hem = numbers.CLASSES_TEST
    assert numbers.CLASSES_TEST == numbers.PRELIMINARY_CELLS  # what the claim rests on
    return Claim(
        about="The test set",
        place="4.2.2, 4.2.1 and 4.4.1",
        says=f'"the train data was split into 20% test set and 80% train set": '
        f"{numbers.SPLIT_TRAIN:,} images and {cells:,}.",
        follows=f"The {cells:,} are C-NMC's preliminary set: {all_cells:,} ALL and {hem:,} HEM in "
        f"both (4.2.1, 4.4.1). They are no 20 % of the {train:,} training cells, which would be "
        f"{round(0.2 * train):,}, but cells of {numbers.PRELIMINARY_SUBJECTS} other subjects: an "
        f"honest test set. No figure in the thesis is said to be of them; its matrices are of "
        f"training images. Here `protocol={THESIS_PRELIMINARY}` does what the thesis did and "
        f"tests on them.",
    )


def left_out() -> Claim:
    """The HEM cells that are trained on, against those that there are."""
    (all_cells, hem), trained = numbers.TRAIN_CELLS, numbers.CLASSES_DCGAN[1]
    lost, total = hem - trained, sum(numbers.TRAIN_CELLS)
    return Claim(
        about="The healthy cells",
        place="4.2.1 against 4.2.2 and 4.4.1",
        says=f"{hem:,} HEM cells are in the training data (4.2.1); the train set has {trained:,} "
        f"(4.4.1).",
        follows=f"{lost:,} HEM cells ({100 * lost / hem:.0f} %) are neither trained on nor "
        f"tested, and no word says why. {all_cells:,} ALL + {trained:,} HEM are the "
        f"{numbers.SPLIT_TRAIN:,} of 4.2.2, so HEM alone was left out; of a random cut of {lost:,} "
        f"cells about {lost * all_cells / total:,.0f} would be ALL. It makes the imbalance that is "
        f"to be cured worse: {all_cells / trained:.2f} ALL to a HEM instead of "
        f"{all_cells / hem:.2f}, so that {all_cells - trained:,} cells are lacking instead of "
        f"{all_cells - hem:,}.",
    )


def overfitting(first: Technique, techniques: Sequence[Technique]) -> Claim:
    """That the technique which the thesis ranks first did not overfit."""
    epochs, turn = first.schedule.epochs, first.rises_after
    others = [
        f"{each.name} {_past(each)}" for each in techniques if each.rises_after and each != first
    ]
    if not turn:
        follows = "The text gives no epoch, so it can be neither held nor denied."
    else:
        follows = (
            f"By its own words it trained {_past(first)} epochs past the turn. The others are "
            f"called overfitted, and left out of the comparison with published work (4.9), for "
            f"the same: epochs past the turn, by the text, are {', '.join(others) or 'not told'}. "
            f"So overfitting cannot be what sets {first.name} apart."
        )
    return Claim(
        about=f"{first.name} did not overfit",
        place="4.4.2 and Figure 22 against 4.8 and 4.10",
        says=f'{first.told or "Nothing of the epoch"}; it was trained for {epochs}. Then: "the '
        f'model did not overfit while training" (4.8).',
        follows=follows,
    )


def _past(technique: Technique) -> str:
    assert technique.rises_after is not None
    epochs = technique.schedule.epochs
    return f"{epochs - technique.rises_after} of {epochs}"


def hours() -> Claim:
    """That the GAN is fast."""
    gan, others, experiments = numbers.GAN_HOURS, numbers.OTHERS_HOURS, numbers.GAN_EXPERIMENTS
    return Claim(
        about="Fast, and with less memory",
        place="4.4.2, 4.8 and 5",
        says=f"DC-GAN took {gan:g} hours on a Kaggle GPU, each of the other techniques about "
        f'{others:g} on a Kaggle TPU; "fast" images were generated (abstract), with less memory.',
        follows=f"Hours and memory of two kinds of machine say nothing of two techniques. Nor is "
        f"it the same work: {gan:g} hours are for the images alone (4.4.2), while {others:g} hours "
        f'"to produce data" (5) are given for class weights too, which produce none. Taken as '
        f"they are, DC-GAN needs {gan / others:.1f} times the hours, {experiments} experiments "
        f"{experiments * gan:g} hours, and an image of the {numbers.MADE_DCGAN:,} "
        f"{gan * 3600 / numbers.MADE_DCGAN:.1f} s. Here every technique runs on one machine, and "
        f"each run logs its seconds and memory (`balance_s`, `train_s`, `peak_gib`).",
    )

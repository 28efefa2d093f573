"""When each technique overfits: by the thesis' words, and by this project's rule put to them."""

from collections.abc import Sequence

from leukemia.evaluation.overfitting import RULE, History, Verdict, verdict_on
from leukemia.thesis.document import Bullets, Paragraph, Section, Table
from leukemia.thesis.numbers import Technique

STEP = 0.1  # of the losses that are made up: above the rule's tolerance from one epoch on


def as_told(technique: Technique) -> History | None:
    """Losses that do what the text says, epoch by epoch over both stages; None: no epoch is told.

    Training loss falls throughout, validation loss falls up to the told epoch and rises from
    there to the end. Their sizes are made up, since the thesis prints none: only the order of
    the epochs means something.
    """
    turn, epochs = technique.rises_after, technique.schedule.epochs
    if turn is None:
        return None
    return [
        {"epoch": epoch, "train_loss": 1 / epoch, "val_loss": 1 + STEP * abs(epoch - turn)}
        for epoch in range(1, epochs + 1)
    ]


def by_the_rule(technique: Technique) -> Verdict | None:
    """The verdict on losses that do what the text says; None: no epoch is told."""
    history = as_told(technique)
    return verdict_on(history, fine_tuned_from(technique)) if history else None


def fine_tuned_from(technique: Technique) -> int:
    """The first epoch of fine-tuning, counted over both stages."""
    return technique.schedule.transfer.epochs + 1


def section(techniques: Sequence[Technique]) -> Section:
    """The table of epochs, the rule, and what the text leaves open."""
    table = Table(
        caption="The epoch after which a technique overfits. Epochs are counted over both stages, "
        "as the 20th of DC-GAN's 10 + 20 must be.",
        head=("technique", "epochs, transfer + fine-tuning", "what the thesis says",
              "by the text", "by the rule", "epochs after it"),
        rows=tuple(_row(each) for each in techniques),
    )  # fmt: skip
    open_still = (
        "The thesis prints plots and no losses. So the rule is put to losses that do what the text "
        "says: validation loss rises from the told epoch to the end while training loss falls. "
        "That it rose by more than the rule's 5 %, and never came back, cannot be checked.",
        *map(_of_transfer, (each for each in techniques if _turns_in_transfer(each))),
    )
    return Section(
        title="When each overfits", blocks=(Paragraph(text=RULE), table, Bullets(items=open_still))
    )


def _row(technique: Technique) -> tuple[str, ...]:
    stages, verdict = technique.schedule, by_the_rule(technique)
    after = "-"
    if verdict and verdict.epoch:
        after = f"{stages.epochs - verdict.epoch} of {stages.epochs}"
    return (
        technique.name,
        f"{stages.transfer.epochs} + {stages.fine_tune.epochs}",
        technique.told or "nothing",
        str(technique.rises_after or "not told"),
        str(verdict.epoch) if verdict else "cannot be told",
        after,
    )


def _turns_in_transfer(technique: Technique) -> bool:
    turn = technique.rises_after
    return turn is not None and turn < fine_tuned_from(technique)


def _of_transfer(technique: Technique) -> str:
    first = fine_tuned_from(technique)
    return (
        f"{technique.name}: epoch {technique.rises_after} is of the transfer stage, before other "
        f"weights learn at another rate, and decides nothing by the rule. Fine-tuning begins with "
        f"epoch {first}: it overfits after that one if the loss rose from there on, which the text "
        f"does not say."
    )

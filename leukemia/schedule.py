"""How long and how fast a classifier trains: the thesis' table, equal terms, or a quick look."""

from dataclasses import dataclass
from types import ModuleType

from leukemia.errors import UserError

BUDGETS = ("thesis", "equal", "quick")


@dataclass(frozen=True)
class Stage:
    """One stage of transfer learning: Adam's learning rate and passes over the training set."""

    learning_rate: float
    epochs: int


@dataclass(frozen=True)
class Schedule:
    """Stage 1 trains the head on a frozen backbone, stage 2 fine-tunes the whole network."""

    transfer: Stage
    fine_tune: Stage

    @property
    def epochs(self) -> int:
        """Passes over the training set in both stages."""
        return self.transfer.epochs + self.fine_tune.epochs


# The thesis' own baseline, section 4.3: every technique trains like it under `equal`.
EQUAL = Schedule(Stage(1e-3, 5), Stage(1e-4, 10))
QUICK = Schedule(Stage(1e-3, 2), Stage(1e-4, 3))


def schedule_for(budget: str, technique: ModuleType) -> Schedule:
    """The schedule of a technique under a budget.

    thesis: what the technique's module gives as THESIS (its row of the thesis' table), else
        EQUAL. equal: EQUAL for all. quick: QUICK for all, enough to see the whole job work.

    Raises:
        UserError: there is no such budget.
    """
    if budget not in BUDGETS:
        raise UserError(f"there is no budget '{budget}': choose one of {', '.join(BUDGETS)}")
    if budget == "thesis":
        return getattr(technique, "THESIS", EQUAL)
    return EQUAL if budget == "equal" else QUICK

"""How long and how fast a classifier trains: the thesis' table, equal terms, or a quick look."""

from types import ModuleType

from leukemia.contract import Schedule, schedule
from leukemia.errors import UserError

BUDGETS = ("thesis", "equal", "quick")

# The thesis' own baseline, section 4.3: every technique trains like it under `equal`.
EQUAL = schedule(transfer=(1e-3, 5), fine_tune=(1e-4, 10))
QUICK = schedule(transfer=(1e-3, 2), fine_tune=(1e-4, 3))


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

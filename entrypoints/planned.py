"""A study's plan among its options: read from a file, or written into one."""

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leukemia.errors import UserError

from . import console
from .command import DEFAULTS, option, options_of, quietly

if TYPE_CHECKING:
    from leukemia.study.plan import Plan

FILE = click.Path(path_type=Path, dir_okay=False)
PLAN = [
    option(
        "plan",
        "file that says what was planned (YAML or JSON): what is left at its default follows it, "
        "and the ranking names what deviates",
        default=None,
        type=FILE,
    ),
    option(
        "write_plan",
        "write what is asked for into this file as a plan, and train nothing",
        default=None,
        type=FILE,
    ),
    option(
        "contrast",
        "with write_plan: which technique is to be set against which, as weighted,baseline",
        default="",
    ),
]


def planned(study: Callable[..., None]) -> Callable[..., None]:
    """A study that follows a plan's file, or writes one and does nothing else."""

    @wraps(study)
    @click.pass_context
    def following(
        context: click.Context,
        /,
        plan: Path | None,
        write_plan: Path | None,
        contrast: str,
        **given: Any,
    ) -> None:
        """Read or write the plan, then study."""
        from leukemia.study import plan as plans

        if write_plan:
            plans.write(_asked(given, contrast), write_plan)
            console.say(f"The plan is in {write_plan}: commit it, then give plan={write_plan}")
            return
        if contrast:
            raise UserError(f"contrast={contrast} is for write_plan: a plan names its own")
        follows = plans.read(plan) if plan else None
        study(plan=follows, **_filled(context, given, follows))

    return following


def _filled(
    context: click.Context, given: Mapping[str, Any], plan: "Plan | None"
) -> dict[str, Any]:
    """The options; those left at their default as the plan has them.

    `mlflow run` passes a default on as if it were typed, so the two cannot be told apart.
    """
    values = plan.values if plan else {}
    usual = {
        str(each.name): each.process_value(context, each.get_default(context))
        for each in context.command.params
        if each.name in values and each.name in given
    }
    follow = {name: values[name] for name in usual if given[name] == usual[name]}
    if follow.get("test_folds") == "all":
        follow["test_folds"] = []
    return {**given, **follow}


@quietly
def _asked(given: Mapping[str, Any], contrast: str) -> "Plan":
    """What is asked for, as a plan; the cells are read, and nothing is trained."""
    from leukemia.experiment.prepare import opened, resolve
    from leukemia.study import plan as plans

    options = options_of({name: value for name, value in given.items() if name in DEFAULTS})
    config, techniques = resolve(options), given["techniques"]
    index = opened(options, progress=console.bar)
    chosen = {name: given[name] for name in plans.KEYS if name in given}
    return plans.of(
        chosen
        | {
            "contrast": contrast.split(",") if contrast else _only_contrast(techniques),
            "test_folds": given["test_folds"] or "all",
            "data_digest": index.digest[:16],
            "budget": config.budget,
            "image_size": config.geometry.side,
            "scaling": config.model.scaling,
        }
    )


def _only_contrast(techniques: list[str]) -> list[str]:
    """The one that two techniques have, the baseline second.

    Raises:
        UserError: there are more than two, or one.
    """
    if len(techniques) != 2:
        raise UserError(
            "which technique is to be set against which? Say it with contrast, such as "
            "contrast=weighted,baseline"
        )
    return sorted(techniques, key=lambda name: name == "baseline")

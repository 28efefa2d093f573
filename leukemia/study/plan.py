"""What a study is to do, written down before it: a small YAML or JSON file, and what deviates.

    techniques: [baseline, weighted]
    contrast: [weighted, baseline]
    metric: bal_acc
    seeds: [0, 1, 2]

These keys are needed; others of KEYS may be left out, and are then not planned. The digest is the
SHA-256 of the file, as `sha256sum` prints it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from reprlib import repr as shortened
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import pandas as pd
import yaml

from leukemia import techniques
from leukemia.data.files import write_atomically
from leukemia.errors import UserError, first_line
from leukemia.evaluation import PRIMARY
from leukemia.model.backbones import BACKBONES
from leukemia.model.schedule import BUDGETS
from leukemia.ranking.power import LEVEL
from leukemia.ranking.verdicts import PLANNED_PART
from leukemia.splits import PROTOCOLS
from leukemia.study.grid import Trial
from leukemia.text import spreadsheet
from leukemia.tracking import records, runs

PLAN, TRIALS = "plan.yaml", "trials.csv"  # files of a study's run
DIGEST = "plan_digest"  # its tag, where it had a plan
DIGITS = 12  # of the digest that are shown
LARGEST = 2**16  # bytes of a file
AUTO = "auto"
HEAD = """\
# What this study is to do, written before it; `study` with plan=FILE does it, and its ranking says
# what deviates. contrast: which technique is to be set against which.
"""


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key of a plan: whether a value fits it, and in words what does."""

    fits: Callable[[Any], bool]
    expected: str


def _one_of(*names: str) -> Key:
    return Key(fits=lambda value: value in names, expected=f"one of {', '.join(names)}")


def _whole(least: int) -> Key:
    return Key(
        fits=lambda value: _is_whole(value, least),
        expected=f"a whole number of {least} or more",
    )


def _is_whole(value: Any, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _different(value: Any, fits: Callable[[Any], bool]) -> bool:
    """Whether it is a list of one or more values that fit, none of them twice."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(map(fits, value))
        and len(set(value)) == len(value)
    )


TEXT = Key(fits=lambda value: isinstance(value, str) and bool(value), expected="a text")
NUMBERS = "a list of different whole numbers, such as [0, 1, 2]"
KEYS = {
    "techniques": Key(
        fits=lambda value: _different(value, lambda each: each in techniques.names()),
        expected=f"a list of techniques, of {', '.join(techniques.names())}",
    ),
    "contrast": Key(
        fits=lambda value: (
            _different(value, lambda each: isinstance(each, str)) and len(value) == 2
        ),
        expected="two of the techniques, which against which, such as [weighted, baseline]",
    ),
    "metric": _one_of(*PRIMARY),
    "seeds": Key(fits=lambda value: _different(value, _is_whole), expected=NUMBERS),
    "repeats": _whole(0),
    "protocol": _one_of(*PROTOCOLS),
    "folds": _whole(3),
    "test_folds": Key(
        fits=lambda value: value == "all" or _different(value, _is_whole),
        expected=f"{NUMBERS}, or all",
    ),
    "data_digest": TEXT,
    "budget": _one_of(AUTO, *BUDGETS),
    "image_size": _whole(1),
    "crop": _whole(0),
    "scaling": _one_of(AUTO, "imagenet", "unit"),
    "backbone": _one_of(*BACKBONES),
    "backbone_weights": TEXT,
    "batch_size": _whole(1),
}
NEEDED = ("techniques", "contrast", "metric", "seeds")
# Keys whose value is a tag of each run, under the same name.
TAGS = ("data_digest", "protocol", "folds", "budget", "image_size", "crop", "scaling", "backbone",
        "batch_size")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Plan:
    """values: key -> value, of KEYS. text: the file."""

    values: Mapping[str, Any]
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return sha256(self.text.encode()).hexdigest()

    @property
    def name(self) -> str:
        """What it is called in a line."""
        return f"plan {self.digest[:DIGITS]}"


def read(file: Path) -> Plan:
    """The plan that a file holds.

    Raises:
        UserError: it cannot be read, a key is unknown or missing, or a value does not fit.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"plan {file}: {error.strerror}; give a file") from error
    return parsed(content, str(file))


def parsed(content: bytes, file: str) -> Plan:
    """A plan from the bytes of its file; as `read`."""
    try:
        if len(content) > LARGEST:
            raise ValueError(f"{len(content)} bytes")
        text = content.decode()
        values = yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(
            f"plan {file} is neither YAML nor JSON of at most {LARGEST} bytes ({first_line(error)})"
        ) from error
    if not isinstance(values, dict):
        raise UserError(f"plan {file}: expected keys and values, such as metric: bal_acc")
    return Plan(values=_checked(values, file), text=text)


def of(values: Mapping[str, Any]) -> Plan:
    """A plan with these values of KEYS, as it is written.

    Raises:
        UserError: a value does not fit.
    """
    ordered = {name: values[name] for name in KEYS if name in values}
    body = yaml.safe_dump(_checked(ordered, ""), sort_keys=False, default_flow_style=None)
    return Plan(values=ordered, text=HEAD + body)


def write(plan: Plan, file: Path) -> None:
    """Write a plan where there is none yet.

    Raises:
        UserError: there is a file of that name.
    """
    if file.exists():
        raise UserError(f"{file} is there already: name another file, or remove it")
    write_atomically(file.absolute(), plan.text.encode())


def _checked(values: Mapping[Any, Any], file: str) -> dict[str, Any]:
    title = f"plan {file}".rstrip()
    for name, value in values.items():
        if name not in KEYS:
            raise UserError(
                f"{title}: there is no key {shortened(name)}; choose from {', '.join(KEYS)}"
            )
        if not KEYS[name].fits(value):
            raise UserError(
                f"{title}: {name} is {shortened(value)}; expected {KEYS[name].expected}"
            )
    missing = [name for name in NEEDED if name not in values]
    if missing:
        raise UserError(f"{title} lacks {', '.join(missing)}; every plan has {', '.join(NEEDED)}")
    unplanned = [each for each in values["contrast"] if each not in values["techniques"]]
    if unplanned:
        raise UserError(
            f"{title}: contrast names {', '.join(unplanned)}, which is none of its techniques"
        )
    return dict(values)


# What deviates


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a plan. line: as planned, or all that deviates. contrast: the two arms whose
    comparison has most of the level for itself; None where it has not."""

    line: str
    contrast: tuple[str, str] | None


def verdict(plan: Plan, ranked: pd.DataFrame, metric: str, logged: pd.Timestamp) -> Verdict:
    """Whether a study came as planned, and whether its contrast was named before it.

    Args:
        ranked: one row a run that is ranked: technique, arm, seed, fold, start_time and its terms.
        metric: that the order goes by.
        logged: when the plan was first logged.
    """
    technique, against = plan.values["contrast"]
    deviates = deviations(plan, ranked, metric)
    if deviates:
        line = f"NOT as planned ({plan.name}): {'; '.join(deviates)}"
        return Verdict(line=line, contrast=None)
    planned = f"as planned ({plan.name}); the planned contrast is {technique} against {against}"
    older = int((ranked["start_time"] < logged).sum())
    if older:
        line = (
            f"{planned}, which is one comparison among others: {older} of {len(ranked)} runs are "
            f"older than the plan"
        )
        return Verdict(line=line, contrast=None)
    if not {technique, against} <= set(ranked["arm"]):  # it ran with other settings
        return Verdict(line=planned, contrast=None)
    line = f"{planned}, which has {PLANNED_PART * LEVEL:.2f} of the level of {LEVEL:g} for itself"
    return Verdict(line=line, contrast=(technique, against))


def deviations(plan: Plan, ranked: pd.DataFrame, metric: str) -> list[str]:
    """What is otherwise than planned, each in some words; as `verdict`."""
    values = plan.values
    there, wanted = set(ranked["technique"]), values["techniques"]
    missing = [name for name in wanted if name not in there]
    return [
        *[f"no run of {', '.join(missing)}"] * bool(missing),
        *(f"{name} is not in the plan" for name in sorted(there - set(wanted))),
        *[f"ordered by {metric} instead of {values['metric']}"] * (metric != values["metric"]),
        *_instead("seeds", set(ranked["seed"]), values["seeds"]),
        *_instead("test folds", set(ranked["fold"]), _planned_folds(values, ranked)),
        *_splits(values, ranked),
        *_gaps(ranked),
        *_terms(values, ranked),
    ]


def _instead(what: str, there: set[int], wanted: Iterable[int] | None) -> list[str]:
    if wanted is None or there == set(wanted):
        return []
    return [f"{what} {_listed(there)} instead of {_listed(wanted)}"]


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(str(number) for number in sorted(numbers))


def _planned_folds(values: Mapping[str, Any], ranked: pd.DataFrame) -> Iterable[int] | None:
    wanted = values.get("test_folds")
    return range(int(ranked["folds"].iloc[-1])) if wanted == "all" else wanted


def _splits(values: Mapping[str, Any], ranked: pd.DataFrame) -> list[str]:
    """Where a number of repeats is planned: that so many splits were drawn."""
    wanted = values.get("repeats", 0)
    drawn = ranked["split_seed"].nunique() if "split_seed" in ranked else 1
    return [f"{drawn} repeats instead of {wanted}"] if wanted and drawn != wanted else []


def _gaps(ranked: pd.DataFrame) -> list[str]:
    """Seeds and folds that no technique ran, or not every one."""
    by = [name for name in ("seed", "split_seed", "fold") if name in ranked]
    runs_of = {
        str(name): set(of[by].itertuples(index=False, name=None))
        for name, of in ranked.groupby("technique")
    }
    every = set().union(*runs_of.values())
    pairs = {(row[0], row[-1]) for row in every}
    absent = set(product(set(ranked["seed"]), set(ranked["fold"]))) - pairs
    return [
        *(f"no run of seed {seed} fold {fold}" for seed, fold in sorted(absent)),
        *(
            f"{name} lacks {len(every - own)} of {len(every)} runs"
            for name, own in runs_of.items()
            if every - own
        ),
    ]


def _terms(values: Mapping[str, Any], ranked: pd.DataFrame) -> list[str]:
    last = ranked.iloc[-1]
    told = []
    for name in TAGS:
        wanted = values.get(name, AUTO)
        of_its_own = name == "folds" and last["protocol"] == "official"
        if wanted != AUTO and not of_its_own and str(last[name]) != str(wanted):
            told.append(f"{name} {last[name]} instead of {wanted}")
    weights = values.get("backbone_weights", AUTO)
    if weights != AUTO and str(last["weights"]) != Path(weights).name:
        told.append(f"backbone weights {last['weights']} instead of {weights}")
    return told


# With a study's run


def keep(keys: Mapping[Trial, str], plan: Plan | None) -> None:
    """Keep with the run that is on which trials it has, with their keys, and its plan."""
    rows = [asdict(trial) | {"key": key} for trial, key in keys.items()]
    runs.log_texts({TRIALS: spreadsheet.as_csv(pd.DataFrame(rows))})
    if plan:
        runs.log_texts({PLAN: plan.text})
        mlflow.set_tag(DIGEST, plan.digest)


def first_logged(experiment_id: str, plan: Plan) -> pd.Timestamp:
    """When a study of an experiment first had the plan; now, where none has had it."""
    found = mlflow.MlflowClient().search_runs(
        [experiment_id],
        f"tags.{DIGEST} = '{plan.digest}'",
        order_by=["attributes.start_time ASC"],
        max_results=1,
    )
    if not found:
        return pd.Timestamp.now("UTC")
    return pd.Timestamp(found[0].info.start_time, unit="ms", tz="UTC")


def kept(run_id: str) -> tuple[frozenset[str], Plan | None]:
    """The keys of a study's trials, and its plan where it had one.

    Raises:
        UserError: there is no such run, it is no study's, or its plan is not the one it had.
    """
    with TemporaryDirectory() as folder:
        trials = spreadsheet.read(records.download(run_id, TRIALS, Path(folder)), ("key",))
        keys = frozenset(trials["key"])
        digest = mlflow.MlflowClient().get_run(run_id).data.tags.get(DIGEST)
        if digest is None:
            return keys, None
        plan = parsed(records.download(run_id, PLAN, Path(folder)).read_bytes(), PLAN)
    if plan.digest != digest:
        raise UserError(f"study '{run_id}': its {PLAN} is not the one that it began with")
    return keys, plan

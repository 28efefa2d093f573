"""What a study is to do, written down before it: a small YAML or JSON file.

    techniques: [baseline, weighted]
    contrast: [weighted, baseline]
    metric: bal_acc
    seeds: [0, 1, 2]

These keys are needed; others of KEYS may be left out, and are then not planned. The digest is the
SHA-256 of the file, as `sha256sum` prints it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import yaml

from leukemia import techniques
from leukemia.data.files import write_atomically
from leukemia.errors import UserError, first_line
from leukemia.evaluation import PRIMARY
from leukemia.model.backbones import BACKBONES
from leukemia.model.schedule import BUDGETS
from leukemia.splits import PROTOCOLS

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

"""What the commands share: options, their meaning as values, and errors in one line."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from leukemia.data.options import DEPTHS, FITS, GROUNDS, KNOWN, SOURCES, STAINS, UNKNOWN
from leukemia.errors import UserError
from leukemia.evaluation import PRIMARY
from leukemia.experiment.options import ExperimentOptions
from leukemia.model import keras_json
from leukemia.model.backbones import BACKBONES
from leukemia.model.schedule import BUDGETS
from leukemia.registry import GAINS
from leukemia.splits import LEAKS, PROTOCOLS, leaks_in
from leukemia.text.escape import visible

from . import console, troubles
from .parent import follow

CHAMPION = "models:/leukemia-classifier@champion"
REGISTERED = "leukemia-classifier"
DEFAULTS = {each.name: each.default for each in fields(ExperimentOptions)}

Given = ParamSpec("Given")
Result = TypeVar("Result")
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

NUMBER = click.IntRange(0)  # seeds and folds


class Command(click.Command):
    """Ends with one line and exit code 1 on a user's mistake, 130 on an interrupt, 75 where results
    wait on this machine.

    An interrupted run is KILLED; below `mlflow run`, MLflow then calls it FAILED.

    `mlflow run -P` passes a parameter on as it was typed, so --image_size is --image-size.
    """

    def __init__(self, name: str | None, **settings: Any):
        normal = {"token_normalize_func": lambda token: token.replace("_", "-")}
        super().__init__(name, context_settings=normal, **settings)

    def invoke(self, context: click.Context) -> Any:
        """Run the command, as long as whoever started it is there."""
        follow()
        with in_one_line(context):
            return super().invoke(context)


class Failure(click.ClickException):
    """A user's mistake, with the exit code that it has."""

    def __init__(self, error: UserError):
        super().__init__(str(error))
        self.exit_code = error.exit_code  # type: ignore[misc]  # click has it of the class alone


@contextmanager
def in_one_line(context: click.Context) -> Iterator[None]:
    """A user's mistake as click's error, an interrupt as exit code 130."""
    try:
        yield
    except UserError as error:
        console.say(*error.choices, err=True)
        raise Failure(error) from error
    except Exception as error:
        if not (text := troubles.line(error)):
            raise
        raise click.ClickException(visible(text)) from error
    except KeyboardInterrupt:
        console.say("interrupted; the run keeps what it had logged", err=True)
        context.exit(130)


def option(name: str, help: str, **settings: Any) -> Decorator:
    """An option of a command, its default shown."""
    spelling = f"--{name.replace('_', '-')}"
    return click.option(spelling, name, help=help, show_default=True, **settings)


def of_experiment(name: str, help: str, **settings: Any) -> Decorator:
    """An option of ExperimentOptions, with its default."""
    return option(name, help, default=DEFAULTS[name], **settings)


def with_options(*options: Decorator) -> Decorator:
    """A decorator that gives a command several options, helped in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for each in reversed(options):
            command = each(command)
        return command

    return decorate


DATA = [
    option(
        "data",
        "cells: a C-NMC 2019 tree, a table (path,label,subject) or the folder of an index.csv, "
        "class folders, a .npz file, or a .zip or .tar of one of them",
        type=click.Path(path_type=Path),
        required=True,
    ),
    of_experiment(
        "positive", "name of the positive class, or several with commas; auto: 'all' in C-NMC"
    ),
    of_experiment(
        "negative",
        "name of the negative class, or several with commas, or rest; auto: the other class",
    ),
    of_experiment("class_names", "names for people: 'all=ALL, leukemic blast;hem=HEM, healthy'"),
    of_experiment(
        "source",
        "how the data lie: what they look like (auto), or one of these, public sets among them",
        type=click.Choice(SOURCES),
    ),
    of_experiment(
        "subject",
        "a regular expression whose first group (or group 'subject') is the subject in a file's "
        "path, or the level of its folder, from 1",
    ),
    of_experiment(
        "subjects",
        "known, or unknown: then every image counts as a subject, and figures may flatter",
        type=click.Choice([KNOWN, UNKNOWN]),
    ),
    of_experiment("columns", "of a table, what its columns are called: path=image,label=class"),
    of_experiment("join", "of a table, another one to join by the columns that both have"),
    of_experiment(
        "strict_paths",
        "refuse cells whose files do not lie in the data's folder: absolute paths, '..' and links",
        type=bool,
    ),
]


def seed_or_auto(context: click.Context, parameter: click.Parameter, value: str) -> int | str:
    """A whole number of 0 or more, or `auto`."""
    return value if value == "auto" else NUMBER(value, parameter, context)


SEED = of_experiment(
    "seed",
    "decides weights, order and synthetic cells, and the split where split_seed is auto",
    type=NUMBER,
)
SPLIT_SEED = of_experiment(
    "split_seed",
    "decides which subjects (or cells) fall into which part; auto: as seed. Protocol official "
    "has a split of its own",
    callback=seed_or_auto,
    metavar="SEED",
)
FOLD = of_experiment("fold", "which of the folds is the test", type=NUMBER)
PROTOCOL = of_experiment(
    "protocol",
    "subject: no subject in two splits; official: the split that the data come with; image: "
    "cells at random, whoever they are of; thesis: balanced first, then split at random; "
    "thesis_preliminary: the same, but tested on C-NMC's preliminary set",
    type=click.Choice(PROTOCOLS),
)
NUMBER_OF_FOLDS = of_experiment(
    "folds",
    "parts that the subjects (or cells) fall into: one is the test, another validation",
    type=click.IntRange(3),
)
TERMS = [
    of_experiment(
        "budget",
        "learning rates and epochs: thesis (each technique its own), equal (the thesis' "
        "baseline for all), quick (a short look); auto: equal, and thesis under the thesis' "
        "protocols",
        type=click.Choice(["auto", *BUDGETS]),
    ),
    of_experiment(
        "image_size",
        "side in pixels of the cells that the classifier sees (thesis 4.2: 210)",
        type=click.IntRange(0),
    ),
    of_experiment(
        "backbone_weights",
        "imagenet (Keras' file), none (from scratch), auto (imagenet if it can be had, else "
        "none, printed), or the path of a weights file of the backbone without top",
    ),
]
CROP = of_experiment(
    "crop",
    "side in pixels of the centred window that is kept, 0: the whole image (thesis 4.2: 210)",
    type=click.IntRange(0),
)
# How images become squares, beside their size.
LOOKS = [
    of_experiment(
        "fit",
        "an image that is not square or smaller than the crop: crop (its largest square; too small "
        "is refused), pad (on the background), resize (made larger, or stretched)",
        type=click.Choice(FITS),
    ),
    of_experiment(
        "background",
        "under what is transparent and beside what is padded",
        type=click.Choice(GROUNDS),
    ),
    of_experiment(
        "depth",
        "bits that the values of 16-bit files use (10, 12, 14 or 16); 0: refuse files that may use "
        "fewer than 16",
        type=click.Choice(DEPTHS),
    ),
    of_experiment(
        "stain",
        "colours as of a fixed reference, for every image by itself: none, macenko or reinhard",
        type=click.Choice(STAINS),
    ),
]
# Asked for more rarely: not among MLproject's parameters, but -P takes them all the same.
RARER = [
    CROP,
    *LOOKS,
    of_experiment(
        "scaling",
        "input scaling in the model: imagenet (Keras' preprocess_input) or unit (thesis 4.2); "
        "auto: imagenet, and unit under the thesis' protocols",
        type=click.Choice(["auto", "imagenet", "unit"]),
    ),
    of_experiment(
        "backbone",
        "; ".join(f"{each.name}: {each.about}" for each in BACKBONES.values()),
        type=click.Choice(list(BACKBONES)),
    ),
    of_experiment(
        "precision",
        "that the backbone is fine-tuned in: float32, bfloat16, or auto: bfloat16 where this "
        "machine is faster in it",
        type=click.Choice(["auto", "float32", "bfloat16"]),
    ),
    of_experiment("batch_size", "cells a step (thesis 4.3: 32)", type=click.IntRange(1)),
    of_experiment(
        "sensitivity",
        "what the operating threshold is to reach on validation cells",
        type=click.FloatRange(0, 1, min_open=True),
    ),
]
EXPERIMENT = option(
    "experiment", "MLflow experiment; unset: the run's own, else 'leukemia'", default=None
)
SHARED = [*DATA, PROTOCOL, SEED, SPLIT_SEED, FOLD, NUMBER_OF_FOLDS, *TERMS, *RARER, EXPERIMENT]
METRIC = option(
    "metric",
    "what the order goes by on validation cells: auroc, which no threshold moves, bal_acc "
    "(balanced accuracy), wf1 (weighted F1, the C-NMC challenge's), ...",
    default="auroc",
    type=click.Choice(PRIMARY),
)


def kinds_of_leak(context: click.Context, parameter: click.Parameter, value: str) -> set[str]:
    """The kinds named with commas; `all` stands for every kind."""
    kinds = set(LEAKS) if value == "all" else leaks_in(value)
    for unknown in sorted(kinds - set(LEAKS)):
        raise click.BadParameter(f"'{unknown}': choose from {', '.join(LEAKS)}, or all")
    return kinds


WAIVE = option(
    "waive",
    "rank and register in spite of these findings of the audit: kinds with commas, or all; "
    "printed with the ranking",
    default="",
    callback=kinds_of_leak,
)


MODEL = option("model", "name in the model registry", default=REGISTERED)
WHY = option("why", "the reason, for the history", required=True)
GAIN = option(
    "gain",
    "what the 95 % interval of the gain over the baseline on test cells must say before a "
    "classifier is registered: possible (it reaches above 0), sure (it lies above 0), or any",
    default=GAINS[0],
    type=click.Choice(GAINS),
)


def numbers(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """Different whole numbers with commas; none for `all`."""
    try:
        given = [int(part) for part in value.split(",") if value != "all"]
    except ValueError as error:
        raise click.BadParameter(f"'{value}': give whole numbers as 0,1,2") from error
    if len(set(given)) < len(given) or min(given, default=0) < 0:
        raise click.BadParameter(f"'{value}': give different numbers of 0 or more")
    return given


def options_of(given: Mapping[str, Any], **more: Any) -> ExperimentOptions:
    """What was typed as a value: the data's absolute path, and as the technique's settings all
    that not every technique has; a setting that was left out follows the budget."""
    shared = {name: value for name, value in given.items() if name in DEFAULTS}
    own = {name: v for name, v in given.items() if name not in DEFAULTS and v is not None}
    shared["data"] = Path(shared["data"]).absolute()
    return ExperimentOptions(**shared, settings=own, **more)


def quietly(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Load TensorFlow first, and keep what it says of its build and of missing GPUs off the
    user's screen.

    It writes that before its own log level counts, so only closing the stream helps.
    """

    @wraps(function)
    def quiet(*words: Given.args, **options: Given.kwargs) -> Result:
        """Load TensorFlow unheard, then go on."""
        keras_json.check()
        if "tensorflow" not in sys.modules:
            _load_tensorflow()
        return function(*words, **options)

    return quiet


def _load_tensorflow() -> None:
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        import tensorflow as tf

        tf.config.list_logical_devices()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)

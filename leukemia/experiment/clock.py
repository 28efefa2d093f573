"""What each step of a run costs, however often the run was killed."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from leukemia.data.files import write_atomically
from leukemia.errors import UserError
from leukemia.experiment import energy
from leukemia.experiment.memory import peak_gib

FILE = "costs.json"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a step has cost: seconds and watt-hours (NaN where the machine counts none); over: it
    is done."""

    s: float = 0.0
    wh: float = 0.0
    over: bool = False


class Clock:
    """Seconds and, where the machine counts them, watt-hours of each step; in a folder, those of
    all attempts at the run.

    What counts is work that was kept: a step that saves as it goes adds up from one attempt to the
    next, and one that a new attempt has to do again, since nothing of it was kept, counts once. So
    a run that was killed costs what it would have without, but for what going on takes.
    """

    def __init__(self, folder: Path | None):
        """folder: where the costs of earlier attempts lie; None: there are none.

        Raises:
            UserError: they cannot be read.
        """
        self._path = folder and folder / FILE
        self._steps, self._peak = _read(self._path)

    @property
    def costs(self) -> dict[str, float]:
        """Seconds and watt-hours by step, and the largest memory that an attempt held, GiB."""
        of_steps = {
            f"{step}_{unit}": value
            for step, cost in self._steps.items()
            for unit, value in (("s", cost.s), ("wh", cost.wh))
        }
        return of_steps | {"peak_gib": max(self._peak, peak_gib())}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what is spent within as the cost of a step; one at a time."""
        before, start = self._steps.get(name, Cost()), (time.perf_counter(), energy.read())
        self._note = partial(self._count, name, before, *start)
        yield
        self._note(over=True)

    def keep(self) -> None:
        """The work of the step that goes on was saved: what it cost so far counts from now on."""
        self._note(over=False)

    def _count(
        self, name: str, before: Cost, start: float, energy_then: energy.Reading, *, over: bool
    ) -> None:
        if not before.over:
            seconds = time.perf_counter() - start
            spent = energy.watt_hours(energy_then, energy.read())
            cost = Cost(s=before.s + seconds, wh=before.wh + spent, over=over)
            self._steps[name] = cost
        self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        steps = {name: asdict(cost) for name, cost in self._steps.items()}
        content = json.dumps({"steps": steps, "peak_gib": max(self._peak, peak_gib())})
        try:
            write_atomically(self._path, content.encode())
        except OSError as error:
            raise UserError(
                f"a run's costs cannot be written to {self._path} ({error.strerror}); make room "
                f"there and give the same command again: it goes on where it was"
            ) from error


def _read(path: Path | None) -> tuple[dict[str, Cost], float]:
    """The cost of each step and the largest memory, GiB, of earlier attempts."""
    if path is None or not path.exists():
        return {}, 0.0
    try:
        told = json.loads(path.read_text())
        return {name: Cost(**cost) for name, cost in told["steps"].items()}, told["peak_gib"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is damaged ({error}): remove it, and the costs of what is done are lost"
        ) from error

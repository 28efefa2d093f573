"""Energy that the machine itself counted: Linux' powercap counters (Intel and AMD RAPL).

They count whole processor packages, so what else runs there is counted too; a GPU is not.
"""

from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Microjoules so far and the value at which the counter starts anew, by package."""

    microjoules: dict[str, tuple[int, int]]


def read(folder: Path = POWERCAP) -> Reading:
    """The counters of the packages; none where the machine has none or keeps them to root."""
    counters = {}
    for counter in sorted(folder.glob("*:*/energy_uj")):
        zone = counter.parent
        try:
            name = (zone / "name").read_text().strip()
            largest = int((zone / "max_energy_range_uj").read_text())
            if name.startswith("package"):  # cores and memory are parts of it, counted within
                counters[zone.name] = (int(counter.read_text()), largest)
        except (OSError, ValueError):
            continue
    return Reading(microjoules=counters)


def watt_hours(start: Reading, end: Reading) -> float:
    """Energy between two readings, Wh; NaN where the machine reports none.

    A counter that went round once is followed; it does so every hour or so under full load,
    and a package that goes round twice between readings is counted too low.
    """
    spent = [
        (now - start.microjoules[zone][0]) % (largest + 1)
        for zone, (now, largest) in end.microjoules.items()
        if zone in start.microjoules
    ]
    return sum(spent) / 3.6e9 if spent else float("nan")

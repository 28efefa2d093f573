"""The package without its checkout: called from Python, as one command, and as a wheel."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import mlflow
import pytest
from click.testing import CliRunner

from entrypoints.main import main
from leukemia import techniques
from leukemia.data.sample import draw_sample
from leukemia.errors import UserError
from leukemia.experiment.options import ExperimentOptions
from leukemia.experiment.prepare import resolve
from leukemia.experiment.provenance import code_digest
from leukemia.study.launch import words
from tests.conftest import ROOT

TECHNIQUE = '''"""Nothing is balanced: a technique thrown away after the test."""

from leukemia.techniques.baseline import Settings, balance as unbalanced


def balance(train, settings, context):
    return unbalanced(train, settings, context)
'''


def copied(folder: Path, *names: str) -> Path:
    """The sources alone, as a fresh clone has them."""
    for name in names:
        kept = shutil.ignore_patterns("__pycache__")
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=kept)
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def python(*words: str, at: Path, **environment: str) -> str:
    """What a Python of its own prints, with the working folder `at` and only that to import."""
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=at,
        env=os.environ | {"PYTHONPATH": str(at)} | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# From a notebook


def test_the_readmes_notebook_runs_and_tracks_the_same_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    code = [block for block in blocks if "ExperimentOptions" in block or "tracked" in block]
    draw_sample(tmp_path / "sample", 7, 130, 36)
    (tmp_path / "notebook.py").write_text("\n".join(code))
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    printed = python(
        "notebook.py", at=tmp_path, PYTHONPATH=str(ROOT), MLFLOW_TRACKING_URI=uri,
        LEUKEMIA_CACHE=str(tmp_path / "cache"),
    ).splitlines()  # fmt: skip
    assert printed[0] == printed[-1]
    assert any(line.startswith("test balanced accuracy") for line in printed)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (run,) = mlflow.search_runs(experiment_names=["notebook"], output_format="list")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test_bal_acc"] == pytest.approx(float(printed[0]))
    assert run.data.tags["arm"] == "weighted(mode=sampler)"
    asked = {"data": "sample", "positive": "auto", "image_size": "48", "budget": "quick"}
    assert asked.items() <= run.data.params.items()


def test_options_out_of_range_or_unknown_are_refused() -> None:
    with pytest.raises(UserError, match=r"sensitivity 1\.5 is not above 0 and at most 1"):
        ExperimentOptions(data="cells", sensitivity=1.5)
    with pytest.raises(UserError, match="batch_size 0"):
        ExperimentOptions(data="cells", batch_size=0)
    unknown = ExperimentOptions(data="cells", technique="weighted", settings={"modus": "sampler"})
    with pytest.raises(UserError, match="weighted has no setting 'modus': choose from mode"):
        resolve(unknown)


@pytest.mark.parametrize("name", techniques.names())
def test_words_of_a_command_line_mean_the_options_that_they_were_made_of(name: str) -> None:
    from entrypoints.command import options_of

    options = ExperimentOptions(
        data=Path("my cells").absolute(), technique=name, seed=3, split_seed=5, image_size=48,
        sensitivity=0.9, settings={"n_neighbors": 3} if name == "adasyn" else {},
    )  # fmt: skip
    technique, *rest = words(options)
    command = main.get_command(click.Context(main), technique)
    assert command
    given = command.make_context(technique, rest).params
    assert given.pop("experiment") is None
    assert options_of(given, technique=technique) == options


# As one command


def test_the_command_lists_every_entry_point_with_a_sentence() -> None:
    text = CliRunner().invoke(main, ["--help"]).output
    listed = dict(re.findall(r"^  ([a-z][\w-]+)  +(\S.*)$", text, re.M))
    assert {*techniques.names(), "study", "rank", "sample", "thesis-report"} <= set(listed)
    assert set(listed) == set(main.list_commands(click.Context(main)))
    assert "_LEUKEMIA_COMPLETE=bash_source" in text


def test_an_unknown_subcommand_is_named() -> None:
    done = CliRunner().invoke(main, ["smote"])
    assert done.exit_code == 2
    assert "No such command 'smote'" in done.output


def test_a_new_file_among_the_techniques_is_a_command(tmp_path: Path) -> None:
    project = copied(tmp_path, "leukemia", "entrypoints")
    (project / "leukemia/techniques/nothing.py").write_text(TECHNIQUE)
    assert "nothing       Nothing is balanced" in python("-m", "entrypoints", "--help", at=project)
    assert "--image-size" in python("-m", "entrypoints", "nothing", "--help", at=project)


def test_the_shell_completes_its_subcommands() -> None:
    script = python("-m", "entrypoints", at=ROOT, _LEUKEMIA_COMPLETE="bash_source")
    assert "complete -o nosort -F _leukemia_completion leukemia" in script
    typed = {"COMP_WORDS": "leukemia ada", "COMP_CWORD": "1"}
    offered = python("-m", "entrypoints", at=ROOT, _LEUKEMIA_COMPLETE="bash_complete", **typed)
    assert offered.split() == ["plain,adasyn"]


# As a wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sources alone, without a network."""
    sources = copied(
        tmp_path_factory.mktemp("sources"),
        "leukemia", "entrypoints", "pyproject.toml", "setup.py", "README.md", "LICENSE",
    )  # fmt: skip
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(out), str(sources))
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but what the wheel installs."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--target", str(folder), str(wheel))
    return folder


def pip(command: str, *words: str) -> None:
    quiet = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, *quiet, *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_every_module_and_the_page_and_nothing_else(wheel: Path) -> None:
    expected = {
        path.relative_to(ROOT).as_posix().replace("entrypoints/", "leukemia_commands/")
        for room in ("leukemia", "entrypoints")
        for path in (ROOT / room).rglob("*")
        if path.is_file() and path.suffix in (".py", ".html", ".css", ".js")
    }
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert "leukemia/serving/page/index.html" in names


def test_what_is_installed_has_the_code_digest_of_the_checkout(installed: Path) -> None:
    assert code_digest(installed / "leukemia") == code_digest()


def test_an_installed_package_works_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    from leukemia import __version__

    alone = {"PYTHONPATH": str(installed), "XDG_CACHE_HOME": str(tmp_path / "caches")}
    alone |= {"LEUKEMIA_CACHE": "", "HOME": str(tmp_path)}
    command = ("-m", "leukemia_commands")
    assert "Usage: leukemia" in python(*command, "--help", at=tmp_path, **alone)
    assert __version__ in python(*command, "--version", at=tmp_path, **alone)
    told = python(*command, "sample", "--out", "drawn", "--cells", "72", at=tmp_path, **alone)
    assert told.startswith("drawn: 72 cells")
    where = "from leukemia.data.cache import *; print(checkout(), cache_folder())"
    cache = "Library/Caches" if sys.platform == "darwin" else "caches"
    assert python("-c", where, at=tmp_path, **alone).split() == [
        "None", str(tmp_path / cache / "leukemia"),
    ]  # fmt: skip
    script = (installed / "bin/leukemia").read_text()
    assert "from leukemia_commands.main import main" in script

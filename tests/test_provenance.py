"""A run's key changes with what decides its figures, and with nothing else."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from leukemia.experiment.provenance import PACKAGE, code, code_digest, sources
from tests.conftest import ROOT

KEY = """
from pathlib import Path
from leukemia.experiment.prepare import ExperimentOptions, opened, resolve
options = ExperimentOptions(data=r"{data}", positive="blast", precision="float32", crop=0)
print(resolve(options).key(opened(options, Path(r"{cache}"))))
"""


@pytest.fixture
def key(table: Path, tmp_path: Path) -> Callable[[], str]:
    """The key of an experiment by a copy of the project that a test may change."""
    script = KEY.format(data=table, cache=tmp_path / "cache")
    project = tmp_path / "project"
    kept = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, project / "leukemia", ignore=kept)
    shutil.copy(ROOT / "README.md", project)

    def ask() -> str:
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, cwd=project
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return ask


def more(path: Path) -> None:
    with path.open("a") as file:
        file.write("\n# A remark.\n")


def test_the_key_changes_with_a_techniques_file_and_not_with_a_document_or_a_test(
    key: Callable[[], str], tmp_path: Path
) -> None:
    before, project = key(), tmp_path / "project"
    assert len(before) == 32
    more(project / "README.md")
    (project / "tests").mkdir()
    more(project / "tests/test_new.py")
    more(project / "leukemia/tracking/views.py")
    assert key() == before
    more(project / "leukemia/techniques/adasyn.py")
    changed = key()
    assert changed != before
    (project / "leukemia/model/new.py").write_text("")
    assert key() not in (before, changed)


def test_the_digest_covers_what_a_run_is_computed_by() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0] for path in sources()}
    assert {"contract.py", "images.py", "data", "splits", "model", "techniques"} <= rooms
    assert not {"tracking", "registry", "serving", "study", "ranking", "thesis"} & rooms
    assert len(code_digest()) == 64


def test_no_run_imports_a_room_that_its_digest_leaves_out() -> None:
    script = (
        "import sys, leukemia.experiment.prepare, leukemia.experiment.run\n"
        "from leukemia import techniques\n"
        "[techniques.load(name) for name in techniques.names()]\n"
        "print(*(n for n in sys.modules if n.startswith('leukemia.')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    names = done.stdout.split()
    known = {path.relative_to(PACKAGE).with_suffix("").as_posix() for path in sources()}
    files = {name.removeprefix("leukemia.").replace(".", "/") for name in names}
    assert len(files) > 30
    assert not {name for name in files if not {name, f"{name}/__init__"} & known}


def test_a_checkout_tells_its_commit() -> None:
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True,
                          text=True)  # fmt: skip
    assert code().commit == head.stdout.strip()

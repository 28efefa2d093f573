"""Results reach the store whole and once, whatever happens to it or to who sends; on real ones."""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from entrypoints import sync as sync_command
from leukemia.cells import Cells
from leukemia.errors import UserError
from leukemia.experiment.options import ExperimentOptions
from leukemia.study import launch
from leukemia.study.grid import Trial
from leukemia.tracking import connection, lease, manifest, records, runs, sender, sync, unfinished
from leukemia.tracking.journal import ENTRIES, SENT, Journal
from leukemia.tracking.resumable import resumable_run
from leukemia.tracking.sender import Unsent
from tests.conftest import ROOT, write_table
from tests.service import BIN, PATH, MlflowServer

pytestmark = pytest.mark.filterwarnings(
    # Of MLflow's own: its classes of SQLAlchemy, its type hints.
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::PendingDeprecationWarning",
    "ignore:.*Any type hint is inferred:UserWarning",
)
SOON_S = 15.0  # until a user is told that the server is away


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.up()
    yield server
    server.down()


@pytest.fixture
def experiment_id(server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    mlflow.set_tracking_uri(server.address)
    yield connection.connect("outages")
    mlflow.set_tracking_uri(None)  # what the environment says, again


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store without a run, made once: that takes 2 s."""
    place = tmp_path_factory.mktemp("empty") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{place}").search_experiments()
    return place


@pytest.fixture
def local(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An SQLite store of this test."""
    shutil.copy(empty, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield connection.connect("local")
    mlflow.set_tracking_uri(None)


def leave(journal: Journal, steps: range) -> None:
    """What a training leaves, in small: figures, a file and a picture a step."""
    for step in steps:
        journal.write("batch", points=[("loss", 1 / (step + 1), 1_700_000_000_000 + step, step)])
        room = journal.room()
        (room / f"file_{step}.txt").write_text(str(step))
        journal.write("files", folder=room.name)
        room = journal.room()
        _picture(room / "p.png", step)
        journal.write(
            "picture", name="p", step=step, time=1_700_000_000_000, file=f"{room.name}/p.png"
        )


def _picture(path: Path, step: int) -> None:
    from PIL import Image

    Image.fromarray(np.full((4, 4, 3), step, np.uint8)).save(path)


def left(run_id: str) -> tuple[list[tuple[int, float]], list[str], int]:
    """The loss by step, the files, and the number of pictures' files that a run has."""
    client = mlflow.MlflowClient()
    points = [(each.step, each.value) for each in client.get_metric_history(run_id, "loss")]
    files = [each.path for each in client.list_artifacts(run_id) if not each.is_dir]
    return points, files, len(client.list_artifacts(run_id, "images"))


def whole(steps: int) -> tuple[list[tuple[int, float]], list[str], int]:
    numbers = range(steps)
    return (
        [(step, 1 / (step + 1)) for step in numbers],
        [f"file_{step}.txt" for step in numbers],
        2 * steps,
    )


def status(run_id: str) -> str:
    return str(mlflow.MlflowClient().get_run(run_id).info.status)


def until(true: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_server_that_is_away_stops_nothing_and_gets_all_of_it_once(
    server: MlflowServer, experiment_id: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def away() -> list[str]:
        return [text for text in caplog.messages if "away since" in text]

    with resumable_run("train", "away", experiment_id, tmp_path / "away", {}) as kept:
        leave(kept.journal, range(2))
        until(lambda: not kept.journal.waiting, 30)
        server.down()
        gone = time.monotonic()
        leave(kept.journal, range(2, 4))
        until(away, SOON_S)
        assert time.monotonic() - gone < SOON_S
        server.up()
    assert len(away()) == 1
    assert f"{server.address} away since" in away()[0]
    assert str(tmp_path / "away") in away()[0]
    assert any("is back after" in text for text in caplog.messages)
    assert left(kept.run_id) == whole(4)
    assert status(kept.run_id) == "FINISHED"
    assert not (tmp_path / "away").exists()


def test_what_a_server_did_not_get_before_the_end_waits_and_is_sent_by_sync(
    server: MlflowServer, experiment_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender.Sender.close, "__defaults__", (1.0,))
    monkeypatch.setenv("LEUKEMIA_CACHE", str(tmp_path))
    place = unfinished.folder(tmp_path, experiment_id, "key")

    def outage() -> None:
        with resumable_run("train", "longer", experiment_id, place, {}) as kept:
            leave(kept.journal, range(1))
            until(lambda: not kept.journal.waiting, 30)
            server.down()
            leave(kept.journal, range(1, 3))

    with pytest.raises(Unsent, match=r"its results wait in .*`leukemia sync` sends them") as raised:
        outage()
    assert raised.value.exit_code == 75
    assert len(str(raised.value).splitlines()) == 1
    server.up()
    [one] = sync.waiting(tmp_path)
    run_id = one.about.run_id
    assert status(run_id) == "RUNNING"
    done = CliRunner().invoke(sync_command.main, [])
    assert done.exit_code == 0, done.output
    assert f"run {run_id} has all of it now; it is finished" in done.output
    assert left(run_id) == whole(3)
    assert status(run_id) == "FINISHED"
    assert sync.waiting(tmp_path) == []
    assert not place.exists()
    assert "Nothing waits" in CliRunner().invoke(sync_command.main, []).output


@pytest.mark.parametrize("cut", ["nothing", "the second file", "the second, half of the first"])
def test_what_is_sent_twice_stands_there_once(
    server: MlflowServer, experiment_id: str, tmp_path: Path, cut: str
) -> None:
    """As after a kill in the sending of a picture, or between it and the note of it."""
    place = tmp_path / "twice"

    def mistaken() -> None:
        with resumable_run("train", "twice", experiment_id, place, {}) as kept:
            leave(kept.journal, range(3))
            raise ZeroDivisionError("a mistake")

    with pytest.raises(ZeroDivisionError):
        mistaken()
    about = Journal(place / "journal").about
    assert about
    run_id = about.run_id
    assert status(run_id) == "FAILED"
    assert mlflow.MlflowClient().get_run(run_id).data.tags["error"] == "a mistake"
    noted = place / "journal" / SENT
    noted.write_text(str(int(noted.read_text()) - 2))  # before the last picture
    images = server.folder / f"artifacts/{experiment_id}/{run_id}/artifacts/images"
    small, large = sorted(images.glob("p+step+2+*"))
    sent = {each: each.read_bytes() for each in (small, large)}
    assert small.name.endswith("+compressed.webp")
    if cut != "nothing":
        small.unlink()
    if "half" in cut:
        large.write_bytes(sent[large][: len(sent[large]) // 2])
    with resumable_run("train", "twice", experiment_id, place, {}) as again:
        assert again.run_id == run_id
        leave(again.journal, range(3, 4))
    assert left(run_id) == whole(4)
    assert {each: each.read_bytes() for each in sorted(images.glob("p+step+2+*"))} == sent
    assert status(run_id) == "FINISHED"
    assert "error" not in mlflow.MlflowClient().get_run(run_id).data.tags


def test_a_process_at_a_run_keeps_others_from_sending_for_it(
    experiment_id: str, tmp_path: Path
) -> None:
    place = unfinished.folder(tmp_path, experiment_id, "key")
    with resumable_run("train", "busy", experiment_id, place, {}) as kept:
        kept.journal.write("batch", tags={"a": "b"})
        assert sync.waiting(tmp_path) == []


class TestTraining:
    """A whole training on an SQLite store."""

    @pytest.fixture
    def options(self, local: str, tmp_path: Path, cells: Cells) -> ExperimentOptions:
        (tmp_path / "cells").mkdir()
        write_table(tmp_path / "cells", cells)
        return ExperimentOptions(
            data=tmp_path / "cells", positive="blast", technique="baseline", budget="quick",
            image_size=32, crop=0, backbone="miniature",
        )  # fmt: skip

    def test_files_that_a_store_lost_are_sent_again_and_a_kill_in_sending_costs_no_training(
        self, options: ExperimentOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent = sender._send_model
        lost: list[str] = []

        def after_a_loss(client: mlflow.MlflowClient, run_id: str, folder: Path) -> None:
            if not lost:
                lost.append(run_id)
                shutil.rmtree(tmp_path / "mlruns" / run_id / "artifacts")
            sent(client, run_id, folder)

        def dies(*given: object) -> None:
            raise UserError("a kill before the manifest")

        monkeypatch.setattr(sender, "_send_model", after_a_loss)
        with monkeypatch.context() as patch:
            patch.setattr(sender, "_bind", dies)
            with pytest.raises(Unsent, match="a kill before the manifest"):
                launch.tracked(options, cache=tmp_path)
        [run_id] = lost
        assert status(run_id) == "RUNNING"
        assert records.finished("1") == {}

        with pytest.raises(UserError, match="whole but for the sending: it is sent now"):
            launch.tracked(options, cache=tmp_path)
        assert status(run_id) == "FINISHED"
        assert list(records.finished("1").values()) == [run_id]
        client = mlflow.MlflowClient()
        run = client.get_run(run_id)
        text = (tmp_path / "mlruns" / run_id / "artifacts/manifest.json").read_text()
        written = manifest.holds(run, text)
        assert records.contents(run_id) == written.sizes
        assert len(written.files) > 10
        assert len(records.models_of(run_id)) == 1
        # One attempt, one history: of the last step the final network's figure is the run's.
        history = client.get_metric_history(run_id, "train_loss")
        last = max(each.step for each in history)
        moving, final = (each.value for each in history if each.step == last)
        assert run.data.metrics["train_loss"] == final != moving

    def test_a_store_that_loses_all_it_gets_finishes_no_run(
        self, options: ExperimentOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        there = records.contents
        monkeypatch.setattr(
            records, "contents", lambda run_id: dict(list(there(run_id).items())[:1])
        )
        with pytest.raises(Unsent, match=r"the store has lost \d+ of the files that run"):
            launch.tracked(options, cache=tmp_path)
        [run] = mlflow.MlflowClient().search_runs(["1"])
        assert run.info.status == "RUNNING"
        assert records.finished("1") == {}


def test_a_run_that_failed_is_failed_where_its_error_cannot_be_noted(
    local: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*given: object) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(mlflow, "set_tag", away)
    with pytest.raises(ZeroDivisionError), runs.started_run("study", "a study") as run:
        raise ZeroDivisionError
    assert mlflow.active_run() is None
    assert status(run.info.run_id) == "FAILED"


@pytest.mark.parametrize(
    ("of", "ago_s", "killed"),
    [
        ({"host": "elsewhere", "lease": "-1"}, 0, True),
        ({"host": "elsewhere", "lease": "600"}, 90_000, False),
        ({"host": "here", "pid": "4194305", "pid_started": "1.0", "lease": "600"}, 0, True),
        ({"host": "here", "pid": "this", "lease": "-1"}, 90_000, False),
        ({}, 0, False),  # `mlflow run` has made it just now
        ({}, 90_000, True),
    ],
)
def test_whoever_comes_later_ends_what_nobody_is_at(
    local: str, of: dict[str, str], ago_s: int, killed: bool
) -> None:
    now, own, client = time.time(), lease.tags(), mlflow.MlflowClient()
    tags = dict(of)
    if "lease" in of:
        tags["lease"] = str(now + float(of["lease"]))
    if of.get("host") == "here":
        tags["host"] = own["host"]
    if of.get("pid") == "this":
        tags |= {"pid": own["pid"], "pid_started": own["pid_started"]}
    run = client.create_run(local, start_time=int((now - ago_s) * 1000), tags=tags)
    assert lease.reap(local) == killed
    assert status(run.info.run_id) == ("KILLED" if killed else "RUNNING")


def test_a_run_holds_one_training(
    local: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = mlflow.MlflowClient()

    def begun(run_id: str) -> None:
        monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
        with resumable_run("train", "one", local, tmp_path / "one", {}) as kept:
            kept.journal.write("batch", tags={"key": "of its training"})
        assert kept.run_id == run_id

    run_id = client.create_run(local).info.run_id
    begun(run_id)
    with pytest.raises(UserError, match=f"{run_id}, which holds a training already .*unset"):
        begun(run_id)
    with pytest.raises(UserError, match="is no run there"):
        begun("0" * 32)
    client.delete_run(run_id)
    with pytest.raises(UserError, match="a run that was deleted"):
        begun(run_id)


FOLLOWER = "import time; from entrypoints.parent import follow; follow(); time.sleep(60)"


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_training_ends_with_the_study_that_started_it(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys\n"
        f"os.environ['LEUKEMIA_PARENT'] = str(os.getpid())\n"
        f"subprocess.run([sys.executable, '-c', {FOLLOWER!r}])"
    )
    study = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": ROOT})
    until(lambda: psutil.Process(study.pid).children(), 20)
    [child] = psutil.Process(study.pid).children()
    time.sleep(1)
    study.kill()
    study.wait()
    until(lambda: is_gone(child.pid), 10)


def test_a_training_ends_with_the_mlflow_run_that_started_it(tmp_path: Path) -> None:
    (tmp_path / "MLproject").write_text(
        "name: one\nentry_points:\n  main:\n    command: python f.py"
    )
    (tmp_path / "f.py").write_text(FOLLOWER.replace("time.sleep", "open('on', 'w'); time.sleep"))
    command = [str(BIN / "mlflow"), "run", str(tmp_path), "--env-manager", "local"]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "PATH": PATH,
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
    }  # fmt: skip
    project = subprocess.Popen(command, env=environment, cwd=tmp_path)
    until((tmp_path / "on").exists, 60)
    below = psutil.Process(project.pid).children(recursive=True)
    assert below
    project.terminate()
    project.wait()
    until(lambda: all(is_gone(each.pid) for each in below), 10)


def test_an_interrupt_while_trials_begin_waits_for_none_of_them(
    local: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(ThreadPoolExecutor):
        def submit(self, *given, **named):
            super().submit(*given, **named)
            until(lambda: launcher._going, 20)
            raise KeyboardInterrupt

    monkeypatch.setattr(launch, "ThreadPoolExecutor", Interrupted)
    with runs.started_run("study", "a study") as study:
        command = [sys.executable, "-c", "import time; time.sleep(60)", "train"]
        launcher = launch.Launcher(command, mlflow.get_run(study.info.run_id), cache=tmp_path)
        trial = Trial(technique="baseline", seed=0, split_seed=0, protocol="subject", fold=0)
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            launcher({trial: ExperimentOptions(data=tmp_path, technique="baseline")})
        assert time.monotonic() - start < 10
    [run] = mlflow.MlflowClient().search_runs([local], "tags.`mlflow.source.name` LIKE 'train%'")
    assert run.info.status == "KILLED"


class TestJournal:
    def test_what_a_kill_left_of_a_line_is_cut_off(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path)
        journal.write("batch", tags={"a": "1"})
        with (tmp_path / ENTRIES).open("a") as file:
            file.write('{"kind": "batch", "cont')
        again = Journal(tmp_path)
        assert again.waiting == 1
        again.write("batch", tags={"b": "2"})
        lines = (tmp_path / ENTRIES).read_text().splitlines()
        assert [json.loads(line)["content"]["tags"] for line in lines] == [{"a": "1"}, {"b": "2"}]

    def test_entries_that_a_power_cut_took_are_written_and_sent_again(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path)
        for step in range(3):
            journal.write("batch", points=[("loss", 1.0, 0, step)])
        journal.sent(journal.next(0))
        lines = (tmp_path / ENTRIES).read_text().splitlines(keepends=True)
        (tmp_path / ENTRIES).write_text(lines[0])
        again = Journal(tmp_path)
        assert (again.waiting, again.last_step("loss")) == (0, 0)
        assert again.next(0) == []
        again.write("batch", points=[("loss", 1.0, 0, 1)])
        assert [entry.content["points"][0][3] for entry in again.next(0)] == [1]

    def test_a_damaged_one_and_a_full_disk_are_one_line(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "full")
        (tmp_path / "full" / ENTRIES).symlink_to("/dev/full")
        with pytest.raises(UserError, match=r"cannot be written to .*full \(No space left"):
            journal.write("batch", tags={"a": "1"})
        Journal(tmp_path / "bad")
        (tmp_path / "bad" / ENTRIES).write_text("no entry\n")
        with pytest.raises(UserError, match=r"is damaged .*remove the folder"):
            Journal(tmp_path / "bad")

    def test_batches_in_a_row_are_one_request(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path)
        for kind in ("batch", "batch", "files", "batch"):
            journal.write(kind, folder="000001")
        sizes = []
        while entries := journal.next(0):
            sizes.append(len(entries))
            journal.sent(entries)
        assert sizes == [2, 1, 1]


def test_a_log_line_of_an_outage_is_seen_where_nothing_is_set_up() -> None:
    assert logging.getLogger("leukemia.tracking.patience").getEffectiveLevel() <= logging.WARNING

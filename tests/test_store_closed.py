"""Only MLflow's port and, with keys, the S3 port answer other users; no web page gets anything."""

import base64
import functools
import http.client
import http.server
import json
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
import grpc
import psutil
import psycopg
import pytest
import yaml

from tests.conftest import ROOT, Lab
from tests.service import PATH, browsing, free_port

DOCKER = ROOT / "docker"
ROOT_RUNS = os.geteuid() == 0
as_nobody = pytest.mark.skipif(not ROOT_RUNS, reason="only root may become another user")
PARTS = ("master", "volume", "filer")  # of SeaweedFS, besides S3
PATHS = {
    "master": ["/", "/dir/assign", "/dir/status", "/dir/lookup?volumeId=1", "/vol/grow?count=1",
               "/vol/status", "/vol/vacuum", "/col/delete?collection=x", "/submit",
               "/cluster/status", "/cluster/healthz", "/stats/counter", "/ui/index.html",
               "/debug/pprof/", "/metrics", "/healthz", "/1,0100000001"],
    "volume": ["/", "/status", "/ui/index.html", "/stats/disk", "/debug/pprof/", "/metrics",
               "/healthz", "/1,0100000001"],
    "filer": ["/", "/buckets/", "/buckets/mlflow/", "/buckets/mlflow/stolen",
              "/?proxyChunkId=1,0100000001", "/etc/iam/", "/topics/.system/log/", "/.tus/x",
              "/healthz", "/metrics", "/debug/pprof/", "/ui/index.html"],
}  # fmt: skip
CALLS = {
    "master": ["/master_pb.Seaweed/GetMasterConfiguration"],
    "volume": ["/volume_server_pb.VolumeServer/VolumeServerStatus"],
    "filer": ["/filer_pb.SeaweedFiler/GetFilerConfiguration", "/filer_pb.SeaweedFiler/Statistics"],
    "s3": ["/messaging_pb.SeaweedS3IamCache/RemoveIdentity"],
}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
FOREIGN = "http://elsewhere.example"
# Go's server says so to who speaks plain HTTP where TLS is asked.
PLAIN = "Client sent an HTTP request to an HTTPS server.\n"
LET_GO = """
import json, os, pwd, socket, stat, sys
nobody = pwd.getpwnam("nobody")
os.setgroups([]), os.setgid(nobody.pw_gid), os.setuid(nobody.pw_uid)
"""
READABLE = """
seen = []
for top, folders, files in os.walk(sys.argv[1]):
    for each in files:
        try:
            open(os.path.join(top, each), "rb").close()
        except OSError:
            continue
        seen.append(os.path.relpath(os.path.join(top, each), sys.argv[1]))
print(json.dumps(seen))
"""
CONNECTED = """
seen = []
for place in sys.argv[1:]:
    try:
        socket.socket(socket.AF_UNIX).connect(place)
    except PermissionError:
        continue
    seen.append(place)
print(json.dumps(seen))
"""


@dataclass(frozen=True)
class Store:
    """A running SeaweedFS: its process, its ports by part, and what its owner knows."""

    process: psutil.Process
    ports: dict[str, int]
    certificate: Path
    key: Path
    environment: dict[str, str]


def ports_of(command: list[str]) -> dict[str, int]:
    """The HTTP port of each part, as the command line says it; gRPC's is 10,000 above."""
    said = dict(re.findall(r"-(master|volume|filer|s3)\.port=(\d+)", " ".join(command)))
    return {part: int(port) for part, port in said.items()}


@pytest.fixture(scope="module")
def store(lab: Lab) -> Store:
    now = json.loads((lab.folder / "secrets/running.json").read_text())
    children = psutil.Process(int(now["PID"])).children(recursive=True)
    (weed,) = [each for each in children if each.name() == "weed"]
    place = lab.folder / "certificate"
    return Store(
        weed, ports_of(weed.cmdline()), place / "store_certificate",
        place / "store_certificate_key", now,
    )  # fmt: skip


def listening(process: psutil.Process) -> set[tuple[str, int]]:
    return {
        (each.laddr.ip, each.laddr.port)
        for each in process.net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    }


def test_everything_listens_on_this_machine_alone(lab: Lab, store: Store) -> None:
    native = psutil.Process(int(store.environment["PID"]))
    everything = {each for child in native.children(recursive=True) for each in listening(child)}
    postgres = [each for each in psutil.process_iter(["name"]) if each.info["name"] == "postgres"]
    mine = [each for each in postgres if str(lab.folder) in " ".join(each.cmdline())]
    assert mine
    assert {each for process in mine for each in listening(process)} == set()
    known = {*store.ports.values(), *(port + 10_000 for port in store.ports.values())}
    assert listening(store.process) == {("127.0.0.1", port) for port in known}
    assert everything - listening(store.process) == {
        ("127.0.0.1", int(lab.address.rsplit(":", 1)[1]))
    }
    assert (
        "-master.telemetry=false" in store.process.cmdline()
    )  # SeaweedFS' default is to call home


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str


@functools.cache
def trusting(certificate: tuple[str, str] | None) -> ssl.SSLContext:
    """Does not care whom it speaks to, and shows this certificate where it is asked for one."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(*certificate)
    return context


def answer(
    url: str, method: str, certificate: tuple[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> Answer | None:  # fmt: skip
    """What comes back to a request from a page of another host, if anything does."""
    headers = {"Origin": FOREIGN} if headers is None else headers
    parts = urlsplit(url)
    assert parts.hostname
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=10, context=trusting(certificate)
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    with closing(connection):
        try:
            connection.request(method, url.split(parts.netloc)[1], b"x", headers)
            got = connection.getresponse()
            return Answer(got.status, dict(got.getheaders()), got.read().decode(errors="replace"))
        except (OSError, http.client.HTTPException):
            return None


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("above", [0, 10_000])
def test_no_request_without_the_stores_key_is_answered(
    store: Store, part: str, above: int, tmp_path: Path
) -> None:
    subprocess.run([DOCKER / "certificate.sh", tmp_path], check=True)  # just as well made
    own = (str(tmp_path / "store_certificate"), str(tmp_path / "store_certificate_key"))
    place = f"127.0.0.1:{store.ports[part] + above}"
    for method, path in product(METHODS, PATHS[part]):
        assert answer(f"https://{place}{path}", method) is None, (method, path)
        assert answer(f"https://{place}{path}", method, own) is None, (method, path)
        if (plain := answer(f"http://{place}{path}", method)) is not None:
            assert (plain.status, plain.text) in ((400, PLAIN), (400, "")), (method, path)
            assert not [name for name in plain.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    ("part", "path"), [("master", "/cluster/status"), ("volume", "/status"), ("filer", "/buckets/")]
)
def test_with_the_stores_key_such_a_request_is_answered(store: Store, part: str, path: str) -> None:
    known = (str(store.certificate), str(store.key))
    got = answer(f"https://127.0.0.1:{store.ports[part]}{path}", "GET", known)
    assert got is not None
    assert got.status == 200


def called(store: Store, part: str, call: str, credentials: grpc.ChannelCredentials | None) -> str:
    """gRPC's own word for how a call ended."""
    place = f"127.0.0.1:{store.ports[part] + 10_000}"
    channel = (
        grpc.secure_channel(place, credentials) if credentials else grpc.insecure_channel(place)
    )
    with channel:
        try:
            channel.unary_unary(call)(b"", timeout=10)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


@pytest.mark.parametrize(("part", "call"), [(part, call) for part in CALLS for call in CALLS[part]])
def test_no_call_without_the_stores_key_is_answered(
    store: Store, part: str, call: str, tmp_path: Path
) -> None:
    trusted = store.certificate.read_bytes()
    subprocess.run([DOCKER / "certificate.sh", tmp_path], check=True)
    files = ("store_certificate_key", "store_certificate")
    other = [(tmp_path / name).read_bytes() for name in files]
    own = grpc.ssl_channel_credentials(trusted, store.key.read_bytes(), trusted)
    assert called(store, part, call, own) != "UNAVAILABLE"  # it is there
    for credentials in (
        None,
        grpc.ssl_channel_credentials(trusted),
        grpc.ssl_channel_credentials(trusted, *other),
    ):
        assert called(store, part, call, credentials) == "UNAVAILABLE"


def weed(words: list[str], said: str, **environment: str) -> str:
    """What SeaweedFS' own tool prints; without settings as `nobody`, where root runs this."""
    someone = pwd.getpwnam("nobody") if ROOT_RUNS and not environment else None
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        cwd="/", env={"PATH": "/", "HOME": "/"} | environment,
        user=someone and someone.pw_uid, group=someone and someone.pw_gid,
        extra_groups=[] if someone else None,
    ) as process:  # fmt: skip
        try:
            return process.communicate(said, timeout=8)[0]
        except subprocess.TimeoutExpired:  # it goes on asking
            process.kill()
            return process.communicate()[0]


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The program, where everybody may run it."""
    place = Path("/tmp") / f"weed-of-everybody-{os.getpid()}"
    shutil.copy(shutil.which("weed", path=PATH) or "", place)
    place.chmod(0o755)
    yield place
    place.unlink()


def test_seaweedfs_own_tools_get_nothing(store: Store, tool: Path) -> None:
    masters = f"127.0.0.1:{store.ports['master']}.{store.ports['master'] + 10_000}"
    certificate, key = str(store.certificate), str(store.key)
    own = {"WEED_GRPC_CA": certificate, "WEED_GRPC_CLIENT_CERT": certificate,
           "WEED_GRPC_CLIENT_KEY": key}  # fmt: skip
    words = [str(tool), "shell", f"-master={masters}"]
    assert "Topology" in weed(words, "volume.list\n", **own)  # with the key it does list them
    listed = weed(words, "volume.list\nfs.ls /buckets\n")
    assert "Topology" not in listed
    assert "DataNode" not in listed
    assert "mlflow" not in listed
    filer = f"http://127.0.0.1:{store.ports['filer']}/buckets/mlflow/"
    weed([str(tool), "filer.copy", "/etc/hostname", filer], "")
    keys = client(store).list_objects_v2(Bucket="mlflow", Prefix="hostname")
    assert keys["KeyCount"] == 0


def client(store: Store, **keys: str) -> Any:
    return boto3.client(
        "s3", endpoint_url=store.environment["MLFLOW_S3_ENDPOINT_URL"],
        region_name="us-east-1", verify=str(store.certificate),
        aws_access_key_id=keys.get("identifier", store.environment["AWS_ACCESS_KEY_ID"]),
        aws_secret_access_key=keys.get("secret", store.environment["AWS_SECRET_ACCESS_KEY"]),
    )  # fmt: skip


def test_the_s3_port_gives_and_takes_nothing_without_keys(store: Store) -> None:
    with_keys = client(store)
    with_keys.put_object(Bucket="mlflow", Key="kept", Body=b"its content")
    place = f"https://127.0.0.1:{store.ports['s3']}"
    for method, path in product(METHODS, ["/mlflow", "/mlflow/kept", "/mlflow/new", "/new", "/"]):
        got = answer(f"{place}{path}", method)
        if got is None:  # of an origin that it does not know SeaweedFS just drops the connection
            assert method == "OPTIONS"
            continue
        assert got.status >= 400, (method, path)
        assert "its content" not in got.text, (method, path)
        # No option takes it from what addresses no object; a browser does not get so far (below).
        if (method, path) != ("GET", "/") and method != "POST":
            assert not [name for name in got.headers if name.startswith("Access-Control")]
    for keys in (
        {"secret": "guessed"},
        {"identifier": "guessed"},
        {"secret": "", "identifier": ""},
    ):
        with pytest.raises((botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError)):
            client(store, **keys).get_object(Bucket="mlflow", Key="kept")
    assert [each["Name"] for each in with_keys.list_buckets()["Buckets"]] == ["mlflow"]
    assert with_keys.get_object(Bucket="mlflow", Key="kept")["Body"].read() == b"its content"
    with_keys.delete_object(Bucket="mlflow", Key="kept")


def test_nobody_is_sent_to_the_store_for_a_file(lab: Lab, store: Store) -> None:
    """MLflow's clients would load files straight from S3, where the server offers it."""
    able = answer(f"{lab.address}/api/3.0/mlflow/server-info", "GET")
    assert able
    said = json.loads(able.text)
    assert (said["multipart_downloads_enabled"], said["multipart_uploads_enabled"]) == (
        False,
        False,
    )
    who = f"admin:{store.environment['MLFLOW_AUTH_ADMIN_PASSWORD']}"
    basic = {"Authorization": f"Basic {base64.b64encode(who.encode()).decode()}"}
    signed = f"{lab.address}/api/2.0/mlflow-artifacts/presigned/1/run/artifacts/file"
    got = answer(signed, "GET", headers=basic)
    assert got
    assert got.status == 501
    assert "X-Amz-" not in got.text


class Page(http.server.BaseHTTPRequestHandler):
    """A page, which any other page may read as well."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        self.wfile.write(b"<title>a page of another origin</title>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def page() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


TRY = """async ([url, method]) => {
  try {
    const answer = await fetch(url, {method, body: method == 'GET' ? undefined : 'x'});
    return [answer.status, await answer.text()];
  } catch (error) { return null; }
}"""


def test_a_page_of_another_origin_reads_nothing_and_changes_nothing(store: Store) -> None:
    ports = [*store.ports.values(), *(port + 10_000 for port in store.ports.values())]
    urls = [
        f"{scheme}://127.0.0.1:{port}{path}"
        for port in ports
        for scheme in ("http", "https")
        for path in (
            "/",
            "/buckets/mlflow/?limit=9",
            "/dir/assign",
            "/status",
            "/mlflow/from-a-page",
        )
    ]
    who = {"MLFLOW_TRACKING_USERNAME": "nobody", "MLFLOW_TRACKING_PASSWORD": "nothing"}
    with page() as here, page() as other, browsing(who) as tab:
        tab.goto(here)
        assert tab.evaluate(TRY, [other, "GET"])[0] == 200  # what may be read is read
        got = {
            (url, method): tab.evaluate(TRY, [url, method])
            for url in urls
            for method in ("GET", "POST", "PUT", "DELETE")
        }
    assert {each: answer for each, answer in got.items() if answer is not None} == {}
    assert client(store).list_objects_v2(Bucket="mlflow", Prefix="from-a-page")["KeyCount"] == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "path", ["/", "/health", "/api/2.0/mlflow/experiments/search?max_results=9"]
)
def test_mlflow_lets_no_page_of_another_host_read_it(lab: Lab, method: str, path: str) -> None:
    got = answer(f"{lab.address}{path}", method)
    assert got is not None
    assert "Access-Control-Allow-Origin" not in got.headers


def let_go(code: str, *words: object) -> list[str]:
    """What `nobody` prints: a Python that has read its own files becomes him."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", LET_GO + code, *map(str, words)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return list(json.loads(done.stdout))


@as_nobody
def test_nobody_reads_a_file_of_the_stack(lab: Lab) -> None:
    assert "passwd" in let_go(READABLE, "/etc")
    seen = let_go(READABLE, lab.folder)
    assert [each for each in seen if each != "up.log"] == []  # which is the tests' own
    assert oct((lab.folder / "store/s3.json").stat().st_mode & 0o777) == "0o600"
    assert oct((lab.folder / "database.log").stat().st_mode & 0o777) == "0o600"


@as_nobody
def test_nobody_reaches_a_socket_of_the_stack(lab: Lab, store: Store) -> None:
    said = {*store.ports.values(), *(port + 10_000 for port in store.ports.values())}
    sockets = [
        each for each in Path("/tmp").glob("seaweedfs-*.sock")
        if int(re.findall(r"\d+", each.name)[-1]) in said
    ]  # fmt: skip
    assert len(sockets) >= 4
    database = re.findall(r"host=(.+)", store.environment["DATABASE_URI"])[0]
    assert let_go(CONNECTED, *sockets, f"{database}/.s.PGSQL.5432") == []


def test_no_log_holds_a_secret(lab: Lab, store: Store) -> None:
    secrets = [each for name, each in store.environment.items() if "KEY" in name or "PASSW" in name]
    assert len(secrets) == 4
    logs = [lab.folder / name for name in ("store.log", "server.log", "database.log")]
    for log in logs:
        text = log.read_text()
        assert text
        assert not [each for each in secrets if each in text], log


def native() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries about each other
        patch.syspath_prepend(str(DOCKER))
        return import_module("native")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A database in a folder whose name is too long for a socket, which then lies elsewhere."""
    top = Path("/tmp") / f"leukemia-database-{os.getpid()}"
    folder = top / ("a-folder-with-a-long-name-" * 4)
    folder.mkdir(parents=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with native()._database(folder) as (_, settings):
                yield settings | {"FOLDER": str(folder)}
    finally:
        shutil.rmtree(top)


def connected(settings: dict[str, str], user: str) -> psycopg.Connection:
    uri = settings["DATABASE_URI"].replace("postgresql+psycopg://mlflow", f"postgresql://{user}")
    return psycopg.connect(uri, autocommit=True)


@as_nobody
def test_nobody_reaches_the_database_also_where_its_socket_lies_elsewhere(
    database: dict[str, str],
) -> None:
    place = Path(re.findall(r"host=(.+)", database["DATABASE_URI"])[0])
    assert not place.is_relative_to(database["FOLDER"])
    assert let_go(CONNECTED, place / ".s.PGSQL.5432") == []
    assert place.stat().st_mode & 0o077 == 0
    with connected(database, "mlflow") as own:
        assert own.execute("show unix_socket_permissions").fetchone() == ("0700",)
        assert own.execute("show listen_addresses").fetchone() == ("",)


@pytest.mark.parametrize(
    "statement",
    ["copy (select 1) to program 'touch /tmp/x'", "copy t from program 'id'",
     "select pg_read_file('/etc/passwd')", "copy t from '/etc/passwd'", "set role postgres",
     "create role more superuser", "copy (select 1) to '/tmp/x'",
     "alter system set listen_addresses = '*'", "create extension dblink",
     "select lo_import('/etc/passwd')"],
)  # fmt: skip
def test_the_servers_user_does_nothing_beyond_its_database(
    database: dict[str, str], statement: str
) -> None:
    with connected(database, "mlflow") as own:
        own.execute("create table if not exists t (line text)")
        with pytest.raises(
            (psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported)
        ):
            own.execute(statement)


def test_tables_of_an_earlier_version_come_to_the_servers_user(database: dict[str, str]) -> None:
    with connected(database, "postgres") as earlier:
        earlier.execute("create table earlier (id serial primary key)")
        earlier.execute((DOCKER / "database.sql").read_bytes())
    with connected(database, "mlflow") as own:
        own.execute("insert into earlier default values")
        own.execute("drop table earlier")


def test_the_containers_database_gives_its_user_the_password_and_its_own_none(
    database: dict[str, str],
) -> None:
    socket_folder = re.findall(r"host=(.+)", database["DATABASE_URI"])[0]
    environment = {"POSTGRES_USER": "postgres", "POSTGRES_DB": "postgres", "PGHOST": socket_folder,
                   "POSTGRES_PASSWORD": "it's \\ drawn"}  # fmt: skip
    environment["PATH"] = f"{database['PG_BIN']}:{os.environ['PATH']}"
    subprocess.run([DOCKER / "database.sh"], env=environment, check=True)
    with connected(database, "postgres") as own:
        query = "select rolname, left(rolpassword, 7) from pg_authid where rolcanlogin order by 1"
        assert own.execute(query).fetchall() == [("mlflow", "SCRAM-S"), ("postgres", None)]


def test_without_its_certificate_the_store_does_not_start(tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "STORE_DIR": str(tmp_path)}
    for name in ("STORE_CERTIFICATE_FILE", "STORE_CERTIFICATE_KEY_FILE"):
        files = {"STORE_CERTIFICATE_FILE": __file__, "STORE_CERTIFICATE_KEY_FILE": __file__}
        done = subprocess.run(
            [DOCKER / "store.sh"], capture_output=True, text=True,
            env={"PATH": PATH} | keys | files | {name: str(tmp_path / "none")},
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.endswith("draw the store's certificate with certificate.sh\n")


@pytest.fixture(scope="module")
def contained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The store as compose.yaml starts it, on every address of the machine."""
    folder = tmp_path_factory.mktemp("contained")
    for script in ("secrets.sh", "certificate.sh"):
        shutil.copy(DOCKER / script, folder)
    subprocess.run([folder / "secrets.sh"], check=True, capture_output=True)
    said = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["store"]
    environment = {
        name: value.replace("/run/secrets", str(folder / "secrets"))
        for name, value in said["environment"].items()
    } | {"STORE_DIR": str(folder / "store"), "PATH": PATH, "HOME": str(folder)}
    ports = dict(zip(("s3", *PARTS), (native()._free_port() for _ in range(4)), strict=True))
    names = {"s3": "PORT", "master": "MASTER_PORT", "volume": "VOLUME_PORT", "filer": "FILER_PORT"}
    environment |= {names[part]: str(port) for part, port in ports.items()}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [DOCKER / "store.sh"], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    read = {name: (folder / "secrets" / name).read_text() for name in ("store_key", "store_secret")}
    store = Store(
        psutil.Process(process.pid), ports, folder / "secrets/store_certificate",
        folder / "secrets/store_certificate_key",
        {"MLFLOW_S3_ENDPOINT_URL": f"https://127.0.0.1:{ports['s3']}",
         "AWS_ACCESS_KEY_ID": read["store_key"], "AWS_SECRET_ACCESS_KEY": read["store_secret"]},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while answer(store.environment["MLFLOW_S3_ENDPOINT_URL"], "GET") is None:
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield store
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_in_a_container_only_s3_is_on_the_network_and_it_works(contained: Store) -> None:
    s3 = contained.ports["s3"]
    wide = {port for ip, port in listening(contained.process) if ip not in ("127.0.0.1", "::1")}
    assert wide == {s3, s3 + 10_000}
    for call in CALLS["s3"]:
        assert called(contained, "s3", call, None) == "UNAVAILABLE"
    store = client(contained)
    store.create_bucket(Bucket="mlflow")
    store.put_object(Bucket="mlflow", Key="a", Body=b"x" * 9_000_000)  # in several chunks
    assert len(store.get_object(Bucket="mlflow", Key="a")["Body"].read()) == 9_000_000


def test_the_stores_certificate_is_the_one_name_in_compose(contained: Store) -> None:
    context = ssl.create_default_context(cafile=str(contained.certificate))
    with (
        socket.create_connection(("127.0.0.1", contained.ports["s3"])) as plain,
        context.wrap_socket(plain, server_hostname="store") as held,
    ):
        assert held.getpeercert()
    with (
        socket.create_connection(("127.0.0.1", contained.ports["s3"])) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(plain, server_hostname="other")


def test_a_training_in_a_container_reaches_the_server_alone() -> None:
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    networks = {name: set(each["networks"]) for name, each in compose["services"].items()}
    assert networks == {
        "postgres": {"inside"}, "store": {"inside"}, "backup": {"inside"},
        "server": {"inside", "outside"}, "trainer": {"outside"},
    }  # fmt: skip
    assert compose["networks"]["inside"] == {"internal": True}
    ports = {name: each.get("ports", []) for name, each in compose["services"].items()}
    assert [each for name in ports for each in ports[name]] == ["127.0.0.1:${PORT:-5000}:5000"]


def test_in_compose_each_part_is_started_again_and_waited_for() -> None:
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    for name in ("postgres", "store", "server"):
        assert services[name]["restart"] == "unless-stopped"
        assert services[name]["healthcheck"]["test"]
    for name in ("server", "backup", "trainer"):
        waits = services[name]["depends_on"].values()
        assert [each["condition"] for each in waits] == ["service_healthy"] * len(waits)
    assert "127.0.0.1:5000/health" in services["server"]["healthcheck"]["test"][-1]  # of the chain
    copied = (DOCKER / "Dockerfile").read_text()
    for needed in ("docker/lab.py", "docker/lab-0.dist-info", "docker/access.py"):
        assert f"COPY {needed}" in copied or f" {needed} " in copied

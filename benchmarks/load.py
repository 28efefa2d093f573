"""A served champion under load: waiting, throughput, memory, and the alias moving meanwhile.

    python -m benchmarks.load

Minutes: no part of `make bench`. One cell of 210 px a request, as a file, sent by wrk with 1, 8 and
32 clients; then 10,000 requests with the server's memory beside them; then the alias `champion`
moving to and fro. The server and wrk share this machine.
"""

import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.jobs import one_cell
from benchmarks.jobs.one_cell import command, environment, serve

CLIENTS, SECONDS, MANY = (1, 8, 32), 30, 10_000
MOVES_S = 3.0  # between two moves of the alias
POST = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "multipart/form-data; boundary=cell"
local file = io.open("{file}", "rb")
wrk.body = "--cell\\r\\nContent-Disposition: form-data; name=\\"files\\"; " ..
  "filename=\\"cell.bmp\\"\\r\\n" ..
  "Content-Type: image/bmp\\r\\n\\r\\n" .. file:read("*all") .. "\\r\\n--cell--\\r\\n"
"""


def main() -> None:
    """Serve, ask, and print a table and two lines."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        one_cell.prepare(folder)
        data = str(folder / "sample")
        command(folder, "train", "baseline", "--data", data, "--budget", "quick",
                "--backbone-weights", "none", "--seed", "1", "--experiment", "other")  # fmt: skip
        command(folder, "register", "--waive", "all", "--experiment", "other")
        address = serve(folder, ["entrypoints.serve"], "health")
        (server,) = (
            each for each in psutil.process_iter(["cmdline"])
            if "entrypoints.serve" in (each.info["cmdline"] or [])
        )  # fmt: skip
        script = folder / "post.lua"
        script.write_text(POST.format(file=one_cell.first_cell(folder)))
        print("| clients | p50 ms | p99 ms | requests a second | failed |\n|---|---|---|---|---|")
        rate = 0.0
        for clients in CLIENTS:
            p50, p99, rate, failed = _wrk(address, script, clients, SECONDS)
            print(f"| {clients} | {p50:.0f} | {p99:.0f} | {rate:.1f} | {failed} |", flush=True)
        before = _held(server)
        _, _, rate, failed = _wrk(address, script, 8, round(MANY / rate) + 1)
        after = _held(server)
        print(f"\n{rate * (round(MANY / rate) + 1):.0f} requests: {before / 2**20:.0f} MiB before, "
              f"{after / 2**20:.0f} after; {failed} failed.")  # fmt: skip
        end = threading.Event()
        moving = threading.Thread(target=_move, args=(folder, end))
        moving.start()
        _, p99, rate, failed = _wrk(address, script, 8, SECONDS)
        end.set()
        moving.join()
        print(f"The alias moving every {MOVES_S:g} s: p99 {p99:.0f} ms, {failed} failed.")


def _held(server: psutil.Process) -> int:
    """Bytes that the server and its processes hold, what they share counted once."""
    return sum(each.memory_full_info().pss for each in [server, *server.children(recursive=True)])


def _wrk(address: str, script: Path, clients: int, seconds: int) -> tuple[float, float, float, int]:
    """p50 and p99 in ms, requests a second, and how many were not answered with 2xx."""
    said = subprocess.run(
        ["wrk", "--threads", "1", "--connections", str(clients), "--duration", f"{seconds}s",
         "--timeout", "30s", "--latency", "--script", str(script), f"{address}/cells"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    times = {
        share: float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]
        for share, value, unit in re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s)\b", said)
    }
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])
    failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
    errors = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said
    )
    return times["50"], times["99"], rate, failed + sum(map(int, errors.groups() if errors else ()))


def _move(folder: Path, end: threading.Event) -> None:
    import mlflow

    uri = environment(folder)["MLFLOW_TRACKING_URI"]
    client, version = mlflow.MlflowClient(uri, uri), 1
    while not end.wait(MOVES_S):
        client.set_registered_model_alias("leukemia-classifier", "champion", str(version))
        version = 3 - version


if __name__ == "__main__":
    if not any(Path(place, "wrk").exists() for place in ("/usr/bin", "/usr/local/bin")):
        sys.exit("Error: wrk is not installed; on Debian: apt-get install wrk")
    started = time.perf_counter()
    main()
    print(f"({time.perf_counter() - started:.0f} s)", file=sys.stderr)

"""What a confined process might try: the main of a process that tests ask to try each of it."""

import ctypes
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leukemia.registry.process import Header, Work, answer


def _written(place: str) -> None:
    Path(place).write_text("here")


def _linked(place: str) -> None:
    os.link(Path(__file__), place)


def _asked(place: str) -> None:
    urllib.request.urlopen(place, timeout=5)


def _datagram(place: str) -> None:
    host, port = place.split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"secret", (host, int(port)))


def _ring(place: str) -> None:
    """io_uring opens sockets without the call `socket`."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(425, 1, ctypes.create_string_buffer(120)) < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")


TRIES: dict[str, Callable[[str], Any]] = {
    "write": _written,
    "append": lambda place: open(place, "a").write("more"),  # noqa: SIM115
    "truncate": lambda place: os.truncate(place, 0),
    "remove": lambda place: os.remove(place),
    "rename": lambda place: os.rename(place, f"{place}.moved"),
    "make a folder": lambda place: os.mkdir(f"{place}.folder"),
    "link": _linked,
    "symlink": lambda place: os.symlink("/etc/passwd", place),
    "connect": _asked,
    "send": _datagram,
    "listen": lambda place: socket.create_server(("127.0.0.1", 0)),
    "unix socket": lambda place: socket.socket(socket.AF_UNIX),
    "ring": _ring,
    "run a program": lambda place: subprocess.run([place], check=True),
    "fork and run": lambda place: os.posix_spawn(place, [place], {}),
    "signal": lambda place: os.kill(int(place), signal.SIGTERM),
    "read": lambda place: Path(place).read_bytes(),
    "memory": lambda place: bytearray(int(place)),
    "sleep": lambda place: time.sleep(float(place)),
    "environment": lambda place: dict(os.environ),
    "scratch": lambda place: Path("kept").write_text("x"),
    "die": lambda place: os._exit(3),
}


def _ready(folder: Path) -> Work:
    def work(header: Header, content: bytes) -> tuple[Header, bytes]:
        found = TRIES[header["try"]](header["place"])
        return {"came": repr(found)}, b""

    return work


if __name__ == "__main__":
    answer(_ready)

"""Damaged models, images and requests, for as long as one likes: `make fuzz SECONDS=3600`.

A third of the time each. A fault is anything but an answer: an exception that is no `UserError`,
a file that takes longer than it may, a server that says 5xx, tells of its inside or is gone. Faults
are kept in the folder that is named, and end the command with 1.

    python -m tests.fuzz SECONDS FOLDER [SEED]
"""

import io
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from leukemia.data.geometry import Geometry
from leukemia.errors import UserError
from leukemia.registry.process import Ended
from leukemia.serving.decoding import DECODING_S, Decoders
from leukemia.tracking.logged_model import DESCRIPTION, NETWORK, read
from tests import hostile

Try = Callable[[bytes], None]
LONG = [b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"9" * 40, b"[" * 40, b"\n", b"&a ", b"*a"]


def main(seconds: float, folder: Path, seed: int) -> int:
    """The number of faults; a line for each reader."""
    folder.mkdir(parents=True, exist_ok=True)
    faults = 0
    for name, prepare in (("model", models), ("image", images), ("request", requests)):
        rng = np.random.default_rng([seed, len(name)])
        tried, wrong, end = 0, 0, time.monotonic() + seconds / 3
        with tempfile.TemporaryDirectory() as place:
            seeds, attempt, close = prepare(Path(place))
            while time.monotonic() < end:
                content = damaged(seeds[int(rng.integers(len(seeds)))], rng)
                tried += 1
                try:
                    attempt(content)
                except Exception as error:
                    wrong += 1
                    (folder / f"{name}-{wrong}").write_bytes(content)
                    print(f"  {type(error).__name__}: {str(error)[:200]}", flush=True)
            close()
        print(f"{name} reader: {tried:,} inputs tried, {wrong} faults", flush=True)
        faults += wrong
    return faults


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """The content with a few bytes changed, moved, repeated, cut or put in, mostly near its ends,
    where the structure of most formats is."""
    whole = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        if not whole:
            break
        near = int(rng.integers(min(len(whole), 600)))
        at = near if rng.random() < 0.5 else len(whole) - 1 - near
        if rng.random() < 0.2:
            at = int(rng.integers(len(whole)))
        match int(rng.integers(5)):
            case 0:
                whole[at] = int(rng.integers(256))
            case 1:
                whole[at] ^= 1 << int(rng.integers(8))
            case 2:
                del whole[at : at + int(rng.integers(1, 40))]
            case 3:
                whole[at:at] = LONG[int(rng.integers(len(LONG)))]
            case _:
                whole[at:at] = whole[at : at + int(rng.integers(1, 200))]
    return bytes(whole)


def models(place: Path) -> tuple[list[bytes], Try, Callable[[], None]]:
    """Descriptions and networks: a description begins with its first key."""
    import yaml

    from leukemia.model.classifier import ModelConfig, build
    from tests.test_logged_model import description

    (place / "data").mkdir()
    build(ModelConfig(backbone="miniature", weights="none", size=32), 0).model.save(place / NETWORK)
    text = yaml.safe_dump(description()).encode()
    network = (place / NETWORK).read_bytes()

    def attempt(content: bytes) -> None:
        of_network = content[:2] == b"PK" or len(content) > 20_000
        (place / DESCRIPTION).write_bytes(text if of_network else content)
        (place / NETWORK).write_bytes(content if of_network else network)
        start = time.monotonic()
        try:
            read(place)
        except UserError as error:
            in_a_line(error)
        assert time.monotonic() - start < DECODING_S, "it took too long"

    return [text, network], attempt, lambda: None


def in_a_line(error: UserError) -> None:
    """That a message is what a user reads: one line."""
    if "\n" in str(error):
        raise AssertionError("more than a line")


def images(place: Path) -> tuple[list[bytes], Try, Callable[[], None]]:
    """All formats as cameras write them, and hostile ones, in the processes of the server."""
    seeds = [saved(kind, **more) for kind, more in _kinds()]
    seeds += [hostile.tiff(tile=(48, 48)), hostile.tiff(directories=3), hostile.jpeg(30, side=64)]
    decoders, geometry = Decoders(1), Geometry(crop=32)

    def attempt(content: bytes) -> None:
        start = time.monotonic()
        try:
            cell = decoders.decode(content, "cell", geometry)
            assert cell.shape == (32, 32, 3), "no cell"
        except UserError as error:
            in_a_line(error)
        except Ended as error:
            raise AssertionError(str(error)) from error
        assert time.monotonic() - start < 2 * DECODING_S, "it took too long"

    return seeds, attempt, lambda: None


def _kinds() -> Iterator[tuple[str, dict[str, Any]]]:
    yield from [("bmp", {}), ("png", {}), ("png", {"optimize": True}), ("jpeg", {}), ("tiff", {})]
    yield "jpeg", {"progressive": True}
    yield from (("tiff", {"compression": each}) for each in
                ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"))  # fmt: skip


def saved(kind: str, **more: Any) -> bytes:
    """A cell of 40 px as a file."""
    pixels = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, **more)
    return content.getvalue()


def requests(place: Path) -> tuple[list[bytes], Try, Callable[[], None]]:
    """Whole requests, heads included, over a real connection to a real server."""
    address, close = _served(place)
    host = f"{address[0]}:{address[1]}".encode()
    seeds = [request(host, path, kind, body) for path, kind, body in _requests()]

    def attempt(content: bytes) -> None:
        with socket.create_connection(address, timeout=30) as line:
            line.sendall(content)
            line.shutdown(socket.SHUT_WR)
            answer = b""
            while part := line.recv(65536):
                answer += part
        status = answer[9:12]
        assert not answer or status.isdigit(), "no answer of HTTP"
        assert not status.startswith(b"5") or status == b"503", f"{status.decode()}"
        for inside in (b"Traceback", b"site-packages", os.fsencode(Path(__file__).parent)):
            assert inside not in answer, "it tells of its inside"

    return seeds, attempt, close


def _served(place: Path) -> tuple[tuple[str, int], Callable[[], None]]:
    """A server on this machine with a miniature network; its address, and what ends it."""
    import uvicorn

    from leukemia.model.classifier import ModelConfig, build
    from leukemia.registry.confined import ConfinedModel
    from leukemia.registry.served import Served
    from leukemia.serving.answers import Following
    from leukemia.serving.server import app
    from tests.service import free_port

    network = place / "model.keras"
    build(ModelConfig(backbone="miniature", weights="none", size=32), 0).model.save(network)
    model = Served(
        model=ConfinedModel(network), geometry=Geometry(crop=32), positive="all", negative="hem",
        about="", name="fuzzed", version="1", threshold=0.5, protocol="none", card="",
    )  # fmt: skip
    address = ("127.0.0.1", free_port())
    ready = app(Following(lambda: "1", lambda version: model))
    server = uvicorn.Server(
        uvicorn.Config(ready, host=address[0], port=address[1], log_level="critical")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)

    def close() -> None:
        assert thread.is_alive(), "the server is gone"
        server.should_exit = True
        thread.join(30)

    return address, close


def _requests() -> Iterator[tuple[str, str, bytes]]:
    cell = saved("png")
    yield "/invocations", "application/json", hostile.as_json(cell)
    yield "/invocations", "application/json", b'{"dataframe_records": [{"image": "eA=="}]}'
    yield "/invocations", "application/json", b'{"inputs": {"image": ["eA=="]}}'
    form = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    form += cell + b"\r\n--b--\r\n"
    yield "/cells?pictures=seen", "multipart/form-data; boundary=b", form
    yield "/cells", "multipart/form-data; boundary=b", form[: len(form) // 2]


def request(host: bytes, path: str, kind: str, body: bytes) -> bytes:
    """As a client writes it, the connection closed after it."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: ".encode() + host
        + f"\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n".encode()
        + b"Connection: close\r\n\r\n" + body
    )  # fmt: skip


if __name__ == "__main__":
    given = [*sys.argv[1:], "0"]
    sys.exit(bool(main(float(given[0]), Path(given[1]), int(given[2]))))

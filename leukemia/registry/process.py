"""A process that works on what others wrote, and can do nothing else while it does.

It is asked by its standard input and answers on its standard output: a line of JSON and raw bytes,
each way. It has none of the user's passwords, is confined by `sandbox`, and is killed where an
answer takes too long. What it answers is read with bounds, since it may be in other hands.

What runs in such a process is left out of the count of tested lines, since nothing there could
write the count down; tests/test_confined.py and tests/test_serving.py run it.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from leukemia.errors import UserError
from leukemia.registry.sandbox import confine

# Where this package is: a checkout is on the path of the starting process only, and PYTHONPATH
# takes no folder with a colon in its name.
ROOT = Path(__file__).resolve().parents[2]
START = (
    "import runpy, sys; sys.path.insert(0, sys.argv[1]); module = sys.argv[2]; "
    "del sys.argv[1:3]; runpy.run_module(module, run_name='__main__', alter_sys=True)"
)
LONGEST_LINE = 2**16  # bytes of a header
# Of the environment it gets what Python, TensorFlow and OpenVINO go by, and no password.
KNOWN_BY = ("CUDA", "DYLD_", "KERAS_", "LANG", "LC_", "LD_", "LEUKEMIA_", "NVIDIA", "OMP_",
            "ONEDNN", "OV_", "PATH", "PYTHON", "TF_", "TZ", "VIRTUAL_ENV", "XLA_")  # fmt: skip

Header = Mapping[str, Any]
Work = Callable[[Header, bytes], tuple[Header, Any]]  # a question to its answer and its bytes


class Ended(Exception):
    """The process is no more: it broke a bound, took too long, or was killed."""


class Confined:
    """A process that runs `main` of a module in a scratch folder of its own.

    holds: what it was able to give up, in words.
    """

    def __init__(self, module: str, folder: "tempfile.TemporaryDirectory[str]", memory: int,
                 seconds: float):  # fmt: skip
        """folder: its scratch folder, removed with it. memory: bytes that it may hold. seconds:
        that it may take to be ready.

        Raises:
            UserError: it could not make ready.
            Ended: it ended before.
        """
        self._folder, self._errors = folder, (Path(folder.name) / "errors").open("w+b")
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, str(ROOT), module, folder.name, str(memory)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            cwd=folder.name, env=_environment(folder.name),
        )  # fmt: skip
        self._lock = threading.Lock()  # questions go one after the other
        self.close = weakref.finalize(self, _end, self._process, self._errors, folder)
        ready, _ = self._answer(seconds, 0)
        self.holds = str(ready.get("holds"))

    def ask(self, header: Header, content: Any, most: int, seconds: float) -> tuple[Header, bytes]:
        """Its answer, with at most `most` bytes, within some seconds.

        Raises:
            UserError: what it says is wrong with the question.
            Ended: it is killed or gone.
        """
        with self._lock:
            try:
                _send(self._process.stdin, header, content)
            except (BrokenPipeError, ValueError):  # ended, or closed
                raise Ended(self._last_words()) from None
            return self._answer(seconds, most)

    def _answer(self, seconds: float, most: int) -> tuple[Header, bytes]:
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        clock = threading.Timer(seconds, end)
        clock.daemon = True
        clock.start()
        try:
            header, content = _receive(self._process.stdout, most)
        except EOFError:
            self._process.kill()
            raise Ended(
                f"it did not answer within {seconds:.0f} s" if late.is_set() else self._last_words()
            ) from None
        finally:
            clock.cancel()
        if "error" in header:
            raise UserError(str(header["error"])[:500])
        return header, content

    def _last_words(self) -> str:
        code = self._process.wait(10)
        with suppress(ValueError):  # the file is closed with the process
            self._errors.seek(0)
            lines = self._errors.read()[-4000:].decode(errors="replace").strip().splitlines()
            if lines:
                return f"its process ended with {code}: {lines[-1][:300]}"
        return f"its process ended with {code}"


def _environment(folder: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name.startswith(KNOWN_BY)}
    return kept | {
        "HOME": folder, "TMPDIR": folder, "PYTHONDONTWRITEBYTECODE": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }  # fmt: skip


def _end(
    process: "subprocess.Popen[bytes]",
    errors: IO[bytes],
    folder: "tempfile.TemporaryDirectory[str]",
) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, errors):
        if pipe:
            with suppress(BrokenPipeError):  # a question that was never read
                pipe.close()
    folder.cleanup()


def _send(to: IO[bytes] | None, header: Header, content: Any = b"") -> None:
    assert to is not None
    size = memoryview(content).nbytes
    to.write(json.dumps({**header, "bytes": size}).encode() + b"\n")
    to.write(content)
    to.flush()


def _receive(pipe: IO[bytes] | None, most: int) -> tuple[Header, bytes]:
    """A header and its bytes.

    Raises:
        EOFError: there is no more, no header, or more than `most` bytes are to come.
    """
    assert pipe is not None
    try:
        header = json.loads(pipe.readline(LONGEST_LINE))
        size = header["bytes"]
        if not 0 <= size <= most:
            raise EOFError
        content = pipe.read(size)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise EOFError from None
    if len(content) != size:
        raise EOFError
    return header, content


def answer(prepare: Callable[[Path], Work]) -> None:  # pragma: no cover
    """In the process itself: give up all that is not needed, make ready, answer until no question
    comes any more.

    prepare: from the scratch folder to what answers a question. What it or that raises goes back
    in a line.
    """
    folder, memory = Path(sys.argv[1]), int(sys.argv[2])
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    holds = str(confine(folder, memory))
    try:
        work = prepare(folder)
    except Exception as error:
        _send(answers, {"error": _one_line(error)})
        return
    _send(answers, {"holds": holds})
    while True:
        try:
            header, content = _receive(questions, sys.maxsize)
        except EOFError:
            return
        try:
            told, found = work(header, content)
        except Exception as error:
            told, found = {"error": _one_line(error)}, b""
        _send(answers, told, found)


def _one_line(error: Exception) -> str:  # pragma: no cover
    first = (str(error).splitlines() or [""])[0]
    return first if isinstance(error, UserError) else f"{type(error).__name__}: {first}"

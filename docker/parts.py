"""The parts of a stack as processes: started, watched, started again, and none left behind.

A part that ends by itself is started again after 1 s, 2 s, 4 s ... up to a minute, for as long as
it takes; one that hangs is ended and started again likewise. Each end and each return is one line.
Whatever a killed stack has left of its parts is known by STACK in its environment, which children
inherit; a keeper that outlives the stack ends it, and so does the next start.

    python docker/parts.py free HOST PORT    one line and exit code 1 if one cannot listen there
    python docker/parts.py keep FOLDER       what keeper() starts
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

STACK = "LEUKEMIA_STACK"  # the folder of the stack that a process belongs to
PATIENCE_S = 120  # for a part to answer after its first start
FIRST_S, LONGEST_S = 1.0, 60.0  # between an end and the next start
STEADY_S = 60  # after which an end counts as the first again
BEAT_S = 0.3  # between two looks at the parts
ASK_S = 10  # between two questions to a part that runs
HUNG_S = 120.0  # without an answer: it hangs
LOCK = "lock"  # the file in a stack's folder that a stack holds for as long as it runs
LEFT_S = 10  # that what a killed stack has left gets to end


class Failed(Exception):
    """What went wrong, in a line."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """How a part is started and ended, and how to tell that it answers.

    settings: added to the environment. user: as whom it runs, None: as whoever starts it.
    ending: the signal by which it ends in order; grace_s: how long that may take. hung_s: for how
    long it may answer nothing before it is ended.
    """

    name: str
    command: list[str]
    log: Path
    settings: dict[str, str]
    answers: Callable[[], bool]
    user: str | None = None
    ending: signal.Signals = signal.SIGTERM
    grace_s: float = 8
    hung_s: float = HUNG_S


@dataclass(kw_only=True)
class Running:
    """A part and its process; it changes as the process ends and comes back.

    down: when it ended, None while it runs. due: when it is to be started again, None once it was.
    asked: when it was last asked for an answer; silent: since when it gave none, None if it did.
    """

    part: Part
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)
    ends: int = 0
    down: float | None = None
    due: float | None = None
    asked: float = field(default_factory=time.monotonic)
    silent: float | None = None

    def tend(self) -> str | None:
        """Look after it once; the line to print, if something has happened."""
        now = time.monotonic()
        if self.due is not None:
            return self._again() if now >= self.due else None
        if self.process.poll() is not None:
            return self._fallen(now, f"ended ({_reason(self.process.returncode)})")
        if self.down is None and now - self.asked < min(ASK_S, self.part.hung_s / 2):
            return None
        self.asked = now
        if not self.part.answers():
            self.silent = self.silent or now
            gone = now - self.silent
            hangs = gone > self.part.hung_s
            return self._fallen(now, f"hangs: no answer for {gone:.0f} s") if hangs else None
        self.silent = None
        if self.down is None:
            return None
        gone, self.down = now - self.down, None
        return f"{self.part.name} answers again, {gone:.0f} s after it ended"

    def _fallen(self, now: float, why: str) -> str:
        _kill(self.process)  # what is left of its group holds its port
        self.ends = 1 if now - self.started > STEADY_S else self.ends + 1
        wait = min(FIRST_S * 2 ** (self.ends - 1), LONGEST_S)
        self.down, self.due, self.silent = self.down or now, now + wait, None
        return f"{self.part.name} {why}; it is started again in {wait:.0f} s; see {self.part.log}"

    def _again(self) -> str | None:
        try:
            self.process = _start(self.part)
        except OSError as error:  # no memory, no disk: later, perhaps
            self.due = time.monotonic() + LONGEST_S
            return f"{self.part.name} cannot be started ({error}); again in {LONGEST_S:.0f} s"
        self.started, self.due = time.monotonic(), None
        return None


@contextmanager
def running(part: Part) -> Iterator[Running]:
    """The part, once it answers; ended with the block.

    Raises:
        Failed: it ends before it answers, or never does.
    """
    now = Running(part=part, process=_start(part))
    try:
        _wait(now)
        yield now
    finally:
        _end(now)


def watch(
    parts: Iterable[Running], say: Callable[[str], None], told_to_end: Callable[[], bool]
) -> None:
    """Look after the parts until somebody interrupts.

    told_to_end: whether somebody has. An interrupt that reaches Python while a library tidies up
    is printed and lost, so that it alone would not do.
    """
    parts = tuple(parts)
    while not told_to_end():
        for each in parts:
            if line := each.tend():
                say(line)
        time.sleep(BEAT_S)


@contextmanager
def keeper(folder: Path) -> Iterator[None]:
    """Beside the block a process that ends the stack's parts where this one is killed."""
    command = [sys.executable, __file__, "keep", str(folder.absolute())]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.communicate()


def _keep(folder: Path) -> None:
    """End what is left as soon as standard input does, unless the next stack has done so."""
    from filelock import FileLock, Timeout

    sys.stdin.read()
    # A dying process closes its files one after the other: the lock may be free a moment later.
    with suppress(Timeout, OSError), FileLock(folder / LOCK, timeout=2, mode=0o600):
        end_what_is_left(folder)


def end_what_is_left(folder: Path) -> None:
    """End the processes of a stack in this folder that was killed; PostgreSQL in order."""
    import psutil

    left = [each for each in psutil.process_iter() if _belongs(each, folder)]
    for each in left:
        with suppress(psutil.Error):
            each.send_signal(signal.SIGINT if each.name() == "postgres" else signal.SIGKILL)
    for each in psutil.wait_procs(left, LEFT_S)[1]:
        with suppress(psutil.Error):
            each.kill()


def taken(host: str, port: int) -> str:
    """Why one cannot listen there, "" where one can."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            probe.bind((place[0], port))
    except (OSError, OverflowError) as error:
        return f"port {port} of {host}: {getattr(error, 'strerror', None) or error}"
    return ""


def last_line(log: Path) -> str:
    """What was said last."""
    return (log.read_text(errors="replace").strip().splitlines() or ["nothing was said"])[-1]


def _start(part: Part) -> subprocess.Popen[bytes]:
    """In a process group of its own: Ctrl-C reaches it through this process alone, in order."""
    part.log.touch(mode=0o600)
    part.log.chmod(0o600)  # also where an earlier version made it
    with part.log.open("ab") as out:
        return subprocess.Popen(
            part.command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, user=part.user,
            start_new_session=True, env=os.environ | part.settings,
        )  # fmt: skip


def _wait(now: Running) -> None:
    part = now.part
    while time.monotonic() - now.started < PATIENCE_S:
        if now.process.poll() is not None:
            raise Failed(
                f"{part.name} ended with {now.process.returncode}: {last_line(part.log)} "
                f"(see {part.log})"
            )
        if part.answers():
            return
        time.sleep(BEAT_S)
    raise Failed(f"{part.name} did not answer in {PATIENCE_S} s; see {part.log}")


def _end(now: Running) -> None:
    if now.process.poll() is None:
        now.process.send_signal(now.part.ending)
        with suppress(subprocess.TimeoutExpired):
            now.process.wait(now.part.grace_s)
    _kill(now.process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process, and what it has started, at once."""
    with suppress(ProcessLookupError, PermissionError):  # macOS: of a group that has ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _reason(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _belongs(process: object, folder: Path) -> bool:
    import psutil

    try:
        return process.environ().get(STACK) == str(folder.absolute())  # type: ignore
    except (psutil.Error, OSError):
        return False


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["free", host, port] if port.isdecimal():
            if why := taken(host, int(port)):
                sys.exit(f"Error: {why}; end what listens there, or name another with PORT=")
        case ["keep", folder]:
            _keep(Path(folder))
        case _:
            sys.exit("Error: give free HOST PORT, a port being a number, or keep FOLDER")

"""A SIGTERM that ends work like Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[None]:
    """A SIGTERM ends the block like Ctrl-C; afterwards a notebook has its own handlers back."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is _interrupt:  # no other thread may set them
        yield
        return
    before = {each: signal.signal(each, _interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler or signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # A study ends its runs, which Ctrl-C may have reached already: what ends is not ended twice.
    # Not SIG_IGN: of a signal that came at the same time Python would print an error.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    raise KeyboardInterrupt

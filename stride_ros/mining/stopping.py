"""The signals of process managers and closed terminals stop mining as Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stoppable() -> Iterator[None]:
    """Let these signals raise KeyboardInterrupt within the block."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    for number, handler in before.items() if _is_main() else ():
        if handler is not signal.SIG_IGN:  # as `nohup` wants
            signal.signal(number, _stop)
    try:
        yield
    finally:
        if _is_main():
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def signals_held() -> Iterator[None]:
    """Let them and Ctrl-C wait until the end of the block, also in processes that are started in it."""
    numbers = (signal.SIGINT, *STOPPING)
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in numbers} if _is_main() else {}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    for number, handler in handlers.items():
        if callable(handler):  # another thread may get the signal, and this one would handle it
            signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if came:
            signal.raise_signal(came[0])


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()

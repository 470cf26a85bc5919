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
    handle_signals()
    try:
        yield
    finally:
        if _is_main():
            for number, handler in before.items():
                signal.signal(number, handler)


def handle_signals() -> None:
    """The same from now on: for libraries that set handlers of their own. `nohup` keeps its effect."""
    for number in STOPPING if _is_main() else ():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()

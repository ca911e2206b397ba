"""Being asked to stop: SIGTERM and Ctrl-C let a run save and leave, a second one ends it at once."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from parrot_core.errors import ParrotError

INTERRUPTED = 130


class Stopped(ParrotError):  # noqa: N818 - it was asked for
    """A run that was asked to stop, and has saved."""

    exit_code = INTERRUPTED


class StopRequest:
    """Whether this process was asked to stop."""

    def __init__(self) -> None:
        self.received = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Notes SIGTERM and SIGINT instead of dying of them, the first time.

        Signals are the main thread's: in any other nothing is changed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.getsignal(number) for number in signals}

        def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - Python's arguments
            self.received = True
            for one, handler in before.items():
                signal.signal(one, handler)

        for number in signals:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def ignore_interrupts(worker: int) -> None:  # noqa: ARG001 - called so by the library
    """Lets a process that loads data outlive a Ctrl-C: the one that trains ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

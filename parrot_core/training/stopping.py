"""Being asked to stop: SIGTERM and Ctrl-C let a run save and leave, a second Ctrl-C ends it."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

_SAME_REQUEST = 1.0  # seconds in which launcher and terminal may both pass one Ctrl-C on


class StopRequest:
    """Whether this process was asked to stop."""

    def __init__(self) -> None:
        self.received = False
        self._since = 0.0

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Notes SIGTERM and SIGINT instead of dying of them.

        A launcher and a batch system may both send SIGTERM: only a second Ctrl-C ends the process.
        Signals are the main thread's: in any other nothing is changed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._note) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - Python's
        now = time.monotonic()
        if self.received and number == signal.SIGINT and now - self._since > _SAME_REQUEST:
            raise KeyboardInterrupt
        if not self.received:
            self.received = True
            self._since = now


def ignore_interrupts(worker: int) -> None:  # noqa: ARG001 - called so by the library
    """Lets a process that loads data outlive a Ctrl-C: the one that trains ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

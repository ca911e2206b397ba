"""Errors that a user can mend: one line that says what is wrong, and a hint what to do."""


class ParrotError(Exception):
    """A mistake or a lack that the user can mend; the command line prints it without a traceback.

    Args:
        problem: One line: what is wrong, with the value and the place.
        hint: One line: what to do about it.
    """

    exit_code = 2

    def __init__(self, problem: str, *, hint: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


class UsageError(ParrotError):
    """A wrong option, recipe or data file (exit code 2)."""


class MissingError(ParrotError):
    """A file, package, model or device that is not there or cannot be used (exit code 3)."""

    exit_code = 3


class GpuFullError(MissingError):
    """A GPU whose memory does not suffice."""


class Stopped(ParrotError):  # noqa: N818 - it was asked for
    """Work that was asked to stop, and has kept what was done (exit code 130)."""

    exit_code = 130


class RemoteError(ParrotError):
    """A remote service that failed (exit code 4)."""

    exit_code = 4

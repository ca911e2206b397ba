"""Worker processes: `parrot train --processes N` starts them, and says what went wrong in them.

Workers are started by torch's own launcher, as `torchrun` would, from within this process: so their
exit codes are known, and a Ctrl-C gives them the time to save.
"""

import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from parrot_cli.output import print_error
from parrot_core.errors import ParrotError

REPORTS_VARIABLE = "PARROT_WORKER_REPORTS"
_LOOKED_AT_EVERY = 1.0  # seconds
_OTHERS_MAY_TAKE = 10.0  # seconds to end by themselves after one of them failed
_FIRST_SPEAKS_FIRST = 2.0  # seconds
_SAVING_MAY_TAKE = 3600  # seconds, after a signal
_INTERRUPTED = 130


class WorkerError(ParrotError):
    """What ended a worker, told by the process that started it.

    Args:
        problem: What the worker said.
        hint: What the worker said.
        exit_code: The worker's.
    """

    def __init__(self, problem: str, *, hint: str | None, exit_code: int) -> None:
        super().__init__(problem, hint=hint)
        self.exit_code = exit_code


def is_worker() -> bool:
    """Whether a launcher started this process beside others."""
    from parrot_core.training.world import number_of_processes

    return number_of_processes(os.environ) > 1


def start_workers(arguments: Sequence[str], processes: int) -> None:
    """Runs `parrot` with these arguments in several processes that know of each other.

    The first one speaks to the user; the others are heard only if they fail.

    Raises:
        ParrotError: with what the first worker to fail said.
        KeyboardInterrupt: if the workers were asked to stop and said nothing.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # What the launcher has to say of failures, the workers' own reports say better.
    for name in ("torch.distributed.elastic", "torch.distributed.launcher"):
        _silence(name)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="parrot-") as folder:
        reports = Path(folder) / "reports"
        reports.mkdir()
        os.environ[REPORTS_VARIABLE] = str(reports)
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=str(os.getpid()),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(
                log_dir=folder, redirects=dict.fromkeys(range(1, processes), Std.ALL)
            ),
            signals_to_handle="SIGTERM,SIGINT",
            shutdown_timeout=_SAVING_MAY_TAKE,
        )
        try:
            elastic_launch(config, sys.executable)("-m", "parrot_cli", *arguments)
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            raise _what_happened(reports, codes) from None
        except SignalException:
            raise _what_happened(reports, {}) from None
        finally:
            os.environ.pop(REPORTS_VARIABLE, None)


def _silence(name: str) -> None:
    logger = logging.getLogger(name)
    logger.handlers = [logging.NullHandler()]
    logger.propagate = False


def _what_happened(reports: Path, codes: dict[int, int]) -> BaseException:
    """The error of the first worker to report one, or what its exit code means."""
    told = {
        int(path.stem): json.loads(path.read_text(encoding="utf-8"))
        for path in reports.glob("*.json")
    }
    # One that a signal ended said nothing; the others then complain of its silence.
    ended = {rank: code for rank, code in codes.items() if rank not in told and code < 0}
    ended = {rank: code for rank, code in ended.items() if code != -signal.SIGTERM}
    if told and not ended:
        first = min(told.values(), key=lambda report: float(report["time"]))
        if first["traceback"]:
            sys.stderr.write(first["traceback"])
        return WorkerError(first["problem"], hint=first["hint"], exit_code=first["code"])
    for rank, code in sorted((ended or codes).items()):
        if code < 0:
            return WorkerError(
                f"process {rank} was ended by {signal.Signals(-code).name}",
                hint="Out of memory? Lower device_batch_size, or raise zero or offload.",
                exit_code=3,
            )
        return WorkerError(
            f"process {rank} ended with exit code {code} and said nothing",
            hint="Run it with one process, or with --debug.",
            exit_code=1,
        )
    return KeyboardInterrupt()


class Reporting:
    """Within this, a worker's error becomes a report, told once by whoever started the workers.

    Where the workers were started by another launcher, the first one prints its own error, and the
    others theirs if it does not end them first by saying the same.

    Args:
        debug: Report the traceback of a user's mistake, too.
    """

    def __init__(self, *, debug: bool) -> None:
        self._debug = debug
        self._rank = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))

    def __enter__(self) -> "Reporting":
        """Begins to watch the process that started this one."""
        folder = os.environ.get(REPORTS_VARIABLE)
        self._reports = None if folder is None else Path(folder)
        threading.Thread(target=self._watch, args=(os.getppid(),), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Reports an error and ends the process, at once: the others may be waiting for it."""
        if error is None or isinstance(error, SystemExit):
            return
        known = isinstance(error, ParrotError)
        report: dict[str, Any] = {
            "time": time.time(),
            "code": error.exit_code if isinstance(error, ParrotError) else 1,
            "problem": error.problem if isinstance(error, ParrotError) else _line(error),
            "hint": error.hint if isinstance(error, ParrotError) else None,
            "traceback": None
            if known and not self._debug
            else "".join(traceback.format_exception(kind, error, trace)),
        }
        if isinstance(error, KeyboardInterrupt):
            report |= {"code": _INTERRUPTED, "problem": "stopped", "traceback": None}
        if self._reports is not None:
            staged = self._reports / f".{self._rank}"
            staged.write_text(json.dumps(report), encoding="utf-8")
            staged.replace(self._reports / f"{self._rank}.json")
        else:
            self._print(report)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(report["code"]))

    def _print(self, report: dict[str, Any]) -> None:
        said = ""
        if self._rank:
            time.sleep(_FIRST_SPEAKS_FIRST)
            said = f"process {self._rank}: "
        if report["traceback"]:
            sys.stderr.write(report["traceback"])
        print_error(f"{said}{report['problem']}", hint=report["hint"])

    def _watch(self, parent: int) -> None:
        """Ends this process if the one that started it is gone, or another worker has failed."""
        failed_since: float | None = None
        while True:
            time.sleep(_LOOKED_AT_EVERY)
            if os.getppid() != parent:
                os._exit(1)
            if self._reports is not None and failed_since is None:
                if any(self._has_failed(path) for path in self._reports.glob("*.json")):
                    failed_since = time.monotonic()
            elif failed_since is not None and time.monotonic() - failed_since > _OTHERS_MAY_TAKE:
                os._exit(1)

    @staticmethod
    def _has_failed(path: Path) -> bool:
        try:
            return bool(json.loads(path.read_text(encoding="utf-8"))["code"] != _INTERRUPTED)
        except OSError:
            return False


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]

"""Fetching a benchmark's tables from where their authors publish them, when the user says so."""

import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from parrot_core.benchmarks.base import Benchmark
from parrot_core.errors import MissingError, RemoteError, UsageError

_TIMEOUT = 60.0  # seconds without a byte


def fetch_tables(
    benchmark: Benchmark,
    folder: Path,
    *,
    languages: Sequence[str],
    on_progress: Callable[[str], None] | None = None,
) -> None:
    """Fetches the tables that are not in a folder yet; a file is there whole or not at all.

    Args:
        benchmark: Which.
        folder: Where tables are kept.
        languages: Codes.
        on_progress: Told the name of each table before it is fetched.

    Raises:
        MissingError: if nobody is known to publish a language's table.
        RemoteError: if one cannot be fetched.
        UsageError: if the folder cannot be written to.
    """
    for language in languages:
        if benchmark.find(language, folder) is not None:
            continue
        address = benchmark.address(language)
        if address is None:
            names = ", ".join(f"{name}.tsv" for name in benchmark.table_names(language))
            raise MissingError(
                f"no address is known for the table of {benchmark.name} in {language}",
                hint=f"Put one of these into {folder}: {names}.",
            )
        if on_progress is not None:
            on_progress(address.rpartition("/")[2])
        _fetch(address, folder / address.rpartition("/")[2])


def _fetch(address: str, target: Path) -> None:
    temporary = target.with_suffix(".tsv.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(address, timeout=_TIMEOUT) as reply,
            temporary.open("wb") as file,
        ):
            shutil.copyfileobj(reply, file, 1 << 20)
            expected = reply.headers.get("Content-Length")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise RemoteError(
            f"cannot fetch {address}: {getattr(error, 'reason', error)}",
            hint="Check the network, or fetch the file by hand.",
        ) from error
    except OSError as error:
        raise UsageError(
            f"cannot write {target}: {error.strerror or error}", hint="Choose another --data-root."
        ) from error
    if expected is not None and temporary.stat().st_size != int(expected):
        raise RemoteError(f"{address} came only in part", hint="Try again.")
    temporary.replace(target)

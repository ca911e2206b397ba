"""Pictures of a table: base64 in a cell, several in a list, or files beside the table."""

import ast
import binascii
import json
import os
from dataclasses import dataclass
from pathlib import Path

from parrot_core.benchmarks.tsv import picture_cell
from parrot_core.errors import ParrotError

_SIGNATURES = (
    b"\xff\xd8",
    b"\x89PNG",
    b"GIF8",
    b"BM",
    b"RIFF",
    b"II*\0",
    b"MM\0*",
    b"\0\0\0\x0cjP",
)
_ENDINGS = {b"\xff\xd8": b"\xff\xd9", b"\x89PNG": b"IEND\xaeB`\x82", b"GIF8": b";"}
"""How a file of each kind ends, by how it begins."""
_TAIL = 64  # bytes at the end of a file that are looked at; some programs append nulls
_DATA_URI = b"base64,"


@dataclass(frozen=True, slots=True)
class CellPicture:
    """A picture in a table's cell, read when it is wanted.

    Attributes:
        table: The TSV file.
        offset: Bytes before its row.
        number: Its place among the cell's pictures, from 0.
    """

    table: Path
    offset: int
    number: int

    @property
    def key(self) -> str:
        """Its row's place in the file, and its own in the cell."""
        return f"{self.offset}.{self.number}"

    def load(self) -> bytes:
        """Reads the row again and decodes the picture."""
        return _decode(_split(picture_cell(self.table, self.offset))[self.number])


@dataclass(frozen=True, slots=True)
class FilePicture:
    """A picture in a file; nothing outside the root is read.

    Attributes:
        root: Folder that the name is relative to.
        name: The row's `image_path`.
    """

    root: Path
    name: str

    @property
    def key(self) -> str:
        """The path as the table has it."""
        return self.name

    def fault(self) -> str | None:
        """Says what is wrong with the path or the file, if anything."""
        from parrot_core.data.images import open_image, resolve_image

        try:
            path = resolve_image(self.name, root=self.root)
            if not _file_is_whole(path):
                open_image(path)
        except ParrotError as error:
            return error.problem
        return None

    def load(self) -> bytes:
        """Reads the file.

        Raises:
            ImageError: if it is gone or lies outside the root.
        """
        from parrot_core.data.images import resolve_image

        return resolve_image(self.name, root=self.root).read_bytes()


def count_pictures(cell: bytes) -> int:
    """Returns how many pictures a sound cell holds."""
    return len(_split(cell))


def cell_faults(cell: bytes) -> str | None:
    """Says what is wrong with a cell of pictures, if anything.

    A picture is decoded only where its end is not as it should be; other damage shows later.
    """
    try:
        pictures = _split(cell)
    except ValueError as error:
        return str(error)
    for number, picture in enumerate(pictures, start=1):
        which = f"picture {number} of {len(pictures)}" if len(pictures) > 1 else "its picture"
        try:
            data = _decode(picture)
        except binascii.Error as error:
            return f"{which} is broken base64 ({error})"
        if not data.startswith(_SIGNATURES):
            return f"{which} is base64, but of no picture that is known"
        if not _is_whole(data[:_TAIL], data[-_TAIL:], size=len(data)):
            from parrot_core.data.images import open_image

            try:
                open_image(data)
            except ParrotError as error:
                return f"{which} is damaged: {error.problem}"
    return None


def _file_is_whole(path: Path) -> bool:
    """Whether a file can be seen to be whole; False says that only decoding it can tell."""
    if not path.is_file():  # a pipe would never end
        return False
    try:
        with path.open("rb") as file:
            head, size = file.read(_TAIL), file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            return _is_whole(head, file.read(), size=size)
    except OSError:
        return False


def _is_whole(head: bytes, tail: bytes, *, size: int) -> bool:
    """Whether a picture ends as files of its kind do, which is quicker to see than to decode it."""
    if head.startswith(b"RIFF"):
        return size >= int.from_bytes(head[4:8], "little") + 8
    ending = next((end for begin, end in _ENDINGS.items() if head.startswith(begin)), None)
    return ending is not None and tail.rstrip(b"\0").endswith(ending)


def _split(cell: bytes) -> list[bytes]:
    """Returns the pictures of a cell: one, or those of a list, written as JSON or Python does.

    Raises:
        ValueError: if it begins like a list and is none of texts.
    """
    stripped = cell.strip()
    if not stripped.startswith(b"["):
        return [stripped]
    text = stripped.decode("utf-8", "replace")
    try:
        pictures = json.loads(text)
    except ValueError:
        try:
            pictures = ast.literal_eval(text)  # literals only: names and calls are refused
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise ValueError("its list of pictures is not a list of texts") from None
    if not isinstance(pictures, list) or not all(isinstance(item, str) for item in pictures):
        raise ValueError("its list of pictures is not a list of texts")
    return [item.encode("utf-8") for item in pictures]


def _decode(text: bytes) -> bytes:
    if text.startswith(b"data:"):
        text = text[text.find(_DATA_URI) + len(_DATA_URI) :]
    return binascii.a2b_base64(b"".join(text.split()), strict_mode=True)

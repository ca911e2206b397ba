"""The questions of a benchmark's table, in VLMEvalKit's columns; all faults are told at once."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase

from parrot_core.benchmarks.base import UNDETERMINED, ImageSource, Question
from parrot_core.benchmarks.pictures import CellPicture, FilePicture, cell_faults, count_pictures
from parrot_core.benchmarks.tsv import Record, column_names, read_records
from parrot_core.errors import ParrotError, UsageError
from parrot_core.languages import LANGUAGES, get_language

_LONGEST_REFERENCE = 64  # characters; no picture is as short as that in base64
_FAULTS_SHOWN = 5
_LANGUAGE_SUFFIX = re.compile(r"_([A-Za-z]{2}(?:-[A-Za-z]{2,4})?)$")


def read_questions(
    path: Path,
    *,
    language: str | None = None,
    with_pictures: bool = True,
    image_root: Path | None = None,
) -> list[Question]:
    """Reads the questions of a table, and reports every fault at once.

    Args:
        path: A TSV file in VLMEvalKit's columns.
        language: Code of its language; left out, a `language` or `SUB_DATASET` column or the end of
            the file's name (`_tr`) says it.
        with_pictures: Check and keep the pictures; scoring answers needs none.
        image_root: Folder that `image_path` is relative to; left out, the table's own.

    Raises:
        MissingError: if the file is not there.
        UsageError: with the faults found: missing columns, a repeated index, an answer that is no
            option, broken base64, a reference to a picture that is not there.
    """
    reader = _Reader(
        path,
        language=language,
        with_pictures=with_pictures,
        image_root=image_root or path.parent,
    )
    questions = reader.read()
    if reader.faults:
        shown = "; ".join(reader.faults[:_FAULTS_SHOWN])
        more = len(reader.faults) - _FAULTS_SHOWN
        raise UsageError(
            f"{path}: {shown}" + (f"; and {more} more faults" if more > 0 else ""),
            hint="Columns are: index, image, question, A, B, …, answer, category, split.",
        )
    if not questions:
        raise UsageError(f"{path} has no questions", hint="Check that it is the right file.")
    return questions


def language_of_name(name: str) -> str | None:
    """Returns the language that a table's name ends in (`MMMB_cn` is `zh`), if it is one."""
    suffix = _LANGUAGE_SUFFIX.search(name)
    found = language_of_code(suffix[1]) if suffix else None
    return found if found in LANGUAGES else None


def language_of_code(code: str) -> str:
    """Returns the code under which a language is known here (`zh` for `cn`), or the code itself."""
    try:
        return get_language(code).code
    except ParrotError:
        return code


class _Reader:
    """One pass over a table."""

    def __init__(
        self, path: Path, *, language: str | None, with_pictures: bool, image_root: Path
    ) -> None:
        """Prepares to read; `faults` fills while reading."""
        self.path, self.with_pictures, self.image_root = path, with_pictures, image_root
        self.language = language or language_of_name(path.stem)
        self.faults: list[str] = []
        self._pictures: dict[tuple[str, int], tuple[ImageSource, ...]] = {}
        self._references: dict[tuple[str, int], int] = {}
        self._cells: dict[tuple[str, int], str] = {}

    def read(self) -> list[Question]:
        questions: dict[tuple[str, int], Question] = {}
        missing = None
        for record in read_records(self.path):
            if missing is None:
                missing = self._missing_columns()
                if missing:
                    self.faults.append(f"no column {' and no column '.join(missing)}")
                    return []
            question = self._question(record)
            if question is None:
                continue
            place = (question.table, question.index)
            if place in questions:
                self.faults.append(f"line {record.line}: index {question.index} is there twice")
                continue
            questions[place] = question
            self._cells[place] = _identity_of(record.picture)
            if self.with_pictures:
                self._keep_picture(place, record)
        return self._with_pictures(questions)

    def _missing_columns(self) -> list[str]:
        names = set(column_names(self.path))
        missing = [f"`{name}`" for name in ("index", "question") if name not in names]
        if self.with_pictures and not names & {"image", "image_path"}:
            missing.append("`image` or `image_path`")
        if "a" in names and "A" not in names:
            missing.append("`A`, but one `a`: options are named by capitals")
        return missing

    def _question(self, record: Record) -> Question | None:
        cells, line = record.cells, record.line
        index = whole_number(cells.get("index", ""))
        if index is None:
            self.faults.append(f"line {line}: index {cells.get('index', '')!r} is no whole number")
            return None
        options = {letter: cells[letter] for letter in ascii_uppercase if letter in cells}
        answer = cells.get("answer") or cells.get("gpt4_ans")
        answer = answer.strip() if answer else None
        if answer is not None and options and answer not in options:
            self.faults.append(f"line {line}: answer {answer!r} is no option of {''.join(options)}")
            return None
        group = cells.get("g_index")
        return Question(
            index=index,
            table=cells.get("sub_dataset", self.path.stem),
            language=self._language_of(cells),
            text=cells.get("question", ""),
            hint=cells.get("hint"),
            options=options,
            answer=answer,
            category=cells.get("category"),
            ability=cells.get("l2-category"),
            split=cells.get("split", "none"),
            picture=cells.get("image_path"),
            group=None if group is None else whole_number(group),
            pair=cells.get("pair_id"),
            context=cells.get("caption"),
            origin=f"{self.path.name}:{line}",
        )

    def _language_of(self, cells: dict[str, str]) -> str:
        stated = cells.get("language")
        if stated:
            return language_of_code(stated)
        if "sub_dataset" in cells and (found := language_of_name(cells["sub_dataset"])):
            return found
        return self.language or UNDETERMINED

    def _keep_picture(self, place: tuple[str, int], record: Record) -> None:
        cell = record.picture
        if not cell:
            name = record.cells.get("image_path")
            if name:
                self._keep_file(place, name, line=record.line)
            return
        if len(cell) <= _LONGEST_REFERENCE:
            text = cell.decode("utf-8", "replace").strip()
            target = whole_number(text)
            if target is None:
                self.faults.append(f"line {record.line}: image {text!r} is neither a picture in "
                                   "base64 nor the index of another row")  # fmt: skip
            else:
                self._references[place] = target
            return
        faults = cell_faults(cell)
        if faults:
            self.faults.append(f"line {record.line}: {faults}")
            return
        self._pictures[place] = tuple(
            CellPicture(self.path, record.offset, number) for number in range(count_pictures(cell))
        )

    def _keep_file(self, place: tuple[str, int], name: str, *, line: int) -> None:
        picture = FilePicture(self.image_root, name)
        fault = picture.fault()
        if fault:
            self.faults.append(f"line {line}: {fault}")
        else:
            self._pictures[place] = (picture,)

    def _with_pictures(self, questions: dict[tuple[str, int], Question]) -> list[Question]:
        """Resolves references, one level deep as the toolkit has it, and hands pictures out."""
        result = []
        for place, question in questions.items():
            images = self._pictures.get(place, ())
            if place in self._references:
                target = self._references[place]
                images = self._pictures.get((place[0], target), ())
                if not images:
                    self.faults.append(
                        f"index {question.index}: its image is that of index {target}, "
                        "which has no picture"
                    )
            picture = question.picture or self._identity(place) or None
            result.append(replace(question, images=images, picture=picture))
        return result

    def _identity(self, place: tuple[str, int]) -> str:
        """Returns what is the same for rows of one picture, whether it is repeated or referred to.

        Answers that others collected must find the same pairs, so this asks for no picture.
        """
        own = self._cells.get(place, "")
        target = whole_number(own)
        return own if target is None else self._cells.get((place[0], target), own)


def _identity_of(cell: bytes) -> str:
    """Returns a digest of a cell of pictures, or the index that it refers to."""
    if len(cell) <= _LONGEST_REFERENCE:
        return cell.decode("utf-8", "replace").strip()
    return f"picture {hashlib.blake2b(cell.strip(), digest_size=12).hexdigest()}"


def whole_number(text: str) -> int | None:
    """Reads an index; a spreadsheet may have made `7` into `7.0`."""
    text = text.strip().removesuffix(".0")
    return int(text) if text.isascii() and text.isdigit() else None

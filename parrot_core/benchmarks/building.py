"""A multilingual benchmark out of English questions: sections 2.1 and 2.3 of the paper.

Questions are chosen by those of the paper's criteria that can be read off the data, become Yes/No
pairs where asked, and go through the translation pipeline as one sample each, so that every
language asks the same things in the same order.
"""

import base64
import csv
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parrot_core.benchmarks.base import ImageSource, Question
from parrot_core.errors import UsageError

FORMS = ("yes-no", "choice")
"""Each question as two of which both must be answered rightly, or as multiple choice."""

DROPPED = {
    "no-image": "there is no picture, so the text alone would be asked about",
    "code": "it is about program code, which is English in every language",
    "english-words": "it is about English words, letters or spelling",
    "no-question": "there is no question",
    "no-answer": "the table does not tell the answer, or it is neither Yes nor No",
    "repeated": "an earlier question asks the same about the same picture",
    "no-pair": "a Yes/No question without its counterpart about the same picture",
    "category": "its category was excluded",
    "balance": "its category had enough questions",
}
"""Why a question is left out, in words."""

_CODE = re.compile(
    r"```|</?\w+>|\b(?:python|java|javascript|c\+\+|html|sql|print\s*\(|def \w+\(|source code)\b|"
    r"\b(?:the|this|of) code\b|\w+\(\w*\)\s*[;{]|[{};]\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_ENGLISH = re.compile(
    r"\b(?:spell|spelled|spelling|rhyme|rhymes|syllables?|synonym|antonym|alphabetical|"
    r"english word|dictionary|guide words?|the words? (?:in|on|written|shown)|"
    r"(?:what|which) (?:word|letter)s?|translat\w+)\b",
    re.IGNORECASE,
)
_YES_NO = ("Yes", "No")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What is written for one picture: texts to translate, and what stays.

    Attributes:
        index: Number of its first row.
        images: The pictures, read when they are written.
        texts: One question and its options, or two questions.
        answers: The right letter, or the answers of both questions.
        letters: Letters of the options; empty for a pair.
        category: The category.
    """

    index: int
    images: tuple[ImageSource, ...]
    texts: tuple[str, ...]
    answers: tuple[str, ...]
    letters: str
    category: str


@dataclass(slots=True)
class Selection:
    """What was chosen, and why the rest was not."""

    entries: list[Entry] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)


def select(
    questions: Iterable[Question],
    *,
    form: str = "yes-no",
    per_category: int | None = None,
    exclude: Sequence[str] = (),
    seed: int = 0,
) -> Selection:
    """Chooses questions by the paper's criteria and brings them into one form.

    Args:
        questions: In the language of the source.
        form: One of `FORMS`. Yes/No questions stay such in either.
        per_category: Most entries of a category; None is all.
        exclude: Categories that are left out.
        seed: What the draws (wrong options, order in a pair, balance) depend on.

    Raises:
        UsageError: if the form is unknown, or no question is left.
    """
    if form not in FORMS:
        raise UsageError(f"no such form: {form!r}", hint=f"Forms: {', '.join(FORMS)}.")
    found = Selection()
    good: list[Question] = []
    seen: set[tuple[object, ...]] = set()
    for question in questions:
        reason = _reason(question, exclude)
        same = (question.picture, _wording(question), tuple(question.options.items()))
        if reason is None and same in seen:
            reason = "repeated"
        if reason is None:
            seen.add(same)
            good.append(question)
        else:
            found.dropped[reason] += 1
    groups = [[question] for question in good if question.options]
    waiting: dict[tuple[str | None, str | None], list[Question]] = defaultdict(list)
    for question in good:
        if not question.options:
            waiting[question.picture, question.category].append(question)
    for asked in waiting.values():
        by_answer = {
            side: [question for question in asked if _side(question) == side] for side in _YES_NO
        }
        pairs = list(zip(*by_answer.values(), strict=False))
        groups += [list(pair) for pair in pairs]
        found.dropped["no-pair"] += len(asked) - 2 * len(pairs)
    random.Random(seed).shuffle(groups)
    for group in groups:
        category = group[0].category or ""
        if per_category is not None and found.categories[category] >= per_category:
            found.dropped["balance"] += len(group)
            continue
        found.categories[category] += 1
        found.entries.append(_entry(group, 2 * len(found.entries), form=form, seed=seed))
    found.dropped += Counter()  # without zeros
    if not found.entries:
        why = "; ".join(f"{count}: {DROPPED[name]}" for name, count in found.dropped.most_common())
        raise UsageError(f"no question is left ({why})", hint="Give other tables or options.")
    return found


def _wording(question: Question) -> str:
    return "\n".join(part for part in (question.hint, question.text) if part)


def _side(question: Question) -> str:
    return (question.answer or "").capitalize()


def _reason(question: Question, exclude: Sequence[str]) -> str | None:
    text = "\n".join((_wording(question), *question.options.values()))
    if question.category is not None and question.category in exclude:
        return "category"
    if not question.images:
        return "no-image"
    if not question.text.strip():
        return "no-question"
    if question.answer is None or not (question.options or _side(question) in _YES_NO):
        return "no-answer"
    if _CODE.search(text):
        return "code"
    return "english-words" if _ENGLISH.search(text) else None


def _entry(group: Sequence[Question], index: int, *, form: str, seed: int) -> Entry:
    first = group[0]
    wording, options = _wording(first), first.options
    draw = random.Random(f"{seed} {first.key} {wording}")
    letters = ""
    answers: tuple[str, ...] = (first.answer or "",)
    if len(group) == 2:
        texts: tuple[str, ...] = tuple(map(_wording, group))
        answers = _YES_NO
    elif form == "choice" or len(options) < 2:
        letters = "".join(options)
        texts = (wording, *options.values())
    else:
        wrong = draw.choice([letter for letter in options if letter != first.answer])
        texts = tuple(
            f'{wording}\nIs "{options[letter]}" the right answer to this question?'
            for letter in (*answers, wrong)
        )
        answers = _YES_NO
    if not letters and draw.random() < 0.5:  # so that the first of two is not always Yes
        texts, answers = texts[::-1], answers[::-1]
    return Entry(
        index=index,
        images=first.images,
        texts=texts,
        answers=answers,
        letters=letters,
        category=first.category or "",
    )


def write_source(selection: Selection, path: Path) -> None:
    """Writes the entries as samples for `translate`, one turn for each text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for entry in selection.entries:
            turns = [{"from": "human", "value": text} for text in entry.texts]
            record = {"id": str(entry.index), "conversations": turns}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def table_files(folder: Path, *, name: str, languages: Sequence[str]) -> dict[str, Path]:
    """Returns where the table of each language is written."""
    return {language: folder / f"{name}_{language}.tsv" for language in languages}


def write_tables(
    selection: Selection, folder: Path, *, name: str, source_language: str, languages: Sequence[str]
) -> dict[str, Path]:
    """Writes `NAME_LANGUAGE.tsv` for every language, the source's own among them.

    An entry that one language lacks (it was dropped for its flags) is left out of all, so that all
    ask the same.

    Args:
        selection: The entries.
        folder: Where `translate` left its results, and the tables are written.
        name: First part of the files' names.
        source_language: Code of the language of the entries.
        languages: Codes of the languages that they were translated into.

    Returns:
        The files by language.

    Raises:
        UsageError: if a translation is not complete.
    """
    texts: dict[str, dict[int, list[str]]] = {
        source_language: {entry.index: list(entry.texts) for entry in selection.entries}
    }
    for language in languages:
        path = folder / f"{language}.json"
        if not path.is_file():
            raise UsageError(
                f"the translation into {language!r} is not complete",
                hint="Run the same command again; see `parrot data review` for what people do.",
            )
        records = json.loads(path.read_text(encoding="utf-8"))
        texts[language] = {
            int(record["id"]): [turn["value"] for turn in record["conversations"]]
            for record in records
        }
    common = [
        entry
        for entry in selection.entries
        if all(entry.index in translated for translated in texts.values())
    ]
    files = table_files(folder, name=name, languages=list(texts))
    for language, translated in texts.items():
        _write_table(files[language], common, translated)
    return files


def _write_table(
    path: Path, entries: Sequence[Entry], translated: Mapping[int, Sequence[str]]
) -> None:
    letters = "".join(sorted({letter for entry in entries for letter in entry.letters}))
    columns = ["index", "image", "question", *letters, "answer", "category", "split", "pair_id"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(
            file, columns, delimiter="\t", lineterminator="\n", restval="", extrasaction="raise"
        )
        writer.writeheader()
        for entry in entries:
            texts = translated[entry.index]
            shared = {"category": entry.category, "split": "test"}
            if entry.letters:
                options = dict(zip(entry.letters, texts[1:], strict=True))
                image = _cell_of(entry.images)
                row = {"index": entry.index, "image": image, "question": texts[0]}
                writer.writerow(row | options | shared | {"answer": entry.answers[0]})
                continue
            for place, (text, answer) in enumerate(zip(texts, entry.answers, strict=True)):
                # The second row of a pair refers to the picture of the first.
                row = {
                    "index": entry.index + place,
                    "image": entry.index if place else _cell_of(entry.images),
                    "question": text,
                    "answer": answer,
                    "pair_id": entry.index // 2,
                }
                writer.writerow(row | shared)


def _cell_of(images: Sequence[ImageSource]) -> str:
    """Returns pictures as a table holds them: base64, or a list of it."""
    encoded = [base64.b64encode(image.load()).decode("ascii") for image in images]
    return encoded[0] if len(encoded) == 1 else json.dumps(encoded)

"""Reading an option that is named by its place: "the second option", 第二个, "вариант 2"."""

from parrot_core.benchmarks.multilingual.lexicon import LEXICON
from parrot_core.benchmarks.multilingual.reading import Reading

_CLASSIFIERS = frozenset(("one", "个", "個", "项", "項", "选", "第", "er", "o", "a"))


def read_ordinal(reading: Reading, choices: dict[str, str]) -> str | None:
    """Returns the option named by its place, if an answer says nothing else.

    A bare number is no place: some people count from nought, and it may be an answer of its own.
    """
    if reading.doubts:
        return None
    letters = list(choices)
    places: set[int] = set()
    rest = []
    index = 0
    spoken = [reading.tokens[position].folded for position in reading.spoken]
    while index < len(spoken):
        length = next(
            (size for size in (3, 2, 1) if tuple(spoken[index : index + size]) in LEXICON.ordinals),
            0,
        )
        if length:
            places.add(LEXICON.ordinals[tuple(spoken[index : index + length])])
        else:
            rest.append(reading.spoken[index])
        index += max(1, length)
    if not places:
        places, rest = _numbered(reading)
    known = {"option", "answer", "fillers", "determiners", "choose", "conclude"}
    idle = all(
        reading.kinds(position) & known or reading.parts[position] in _CLASSIFIERS
        for position in rest
    )
    if len(places) != 1 or not idle:
        return None
    place = places.pop()
    if place >= len(letters):
        return None
    return letters[place]


def _numbered(reading: Reading) -> tuple[set[int], list[int]]:
    """Finds numbers beside a noun for option: "option 2", 选项2, "2. seçenek"."""
    places, rest = set(), []
    nouns = [index for index in reading.spoken if "option" in reading.kinds(index)]
    for index in reading.spoken:
        text = reading.parts[index]
        counted = nouns or (index and reading.parts[index - 1] == "第")
        if counted and text.isdigit() and len(text) == 1 and text != "0":
            places.add(int(text) - 1)
        else:
            rest.append(index)
    return places, rest

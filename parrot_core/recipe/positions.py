"""Where in a TOML file keys and list elements stand, which the library's parser does not say."""

import re
import tomllib

Key = tuple[str | int, ...]
"""Names of sections and keys, and places in lists counted from 0."""

_BARE_OR_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|[A-Za-z0-9_-]+')
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}#\n]+")
_BLANK = re.compile(r"(?:\s|#[^\n]*)*")


def key_as_text(key: Key) -> str:
    """Writes a key as recipes and `--set` do: `stage2.data[1].weight`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def key_positions(text: str) -> dict[Key, int]:
    """Maps every section, key and list element of a valid TOML document to its line, from 1."""
    return _Scanner(text).scan()


class _Scanner:
    """Walks over a document that the library has found to be valid, noting where things begin."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._positions: dict[Key, int] = {}
        self._counts: dict[Key, int] = {}

    def scan(self) -> dict[Key, int]:
        section: Key = ()
        while self._skip_blank():
            if self._text[self._at] == "[":
                section = self._header()
            else:
                self._pair(section)
        return self._positions

    def _skip_blank(self) -> bool:
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at < len(self._text)

    def _note(self, key: Key) -> None:
        line = self._text.count("\n", 0, self._at) + 1
        for length in range(1, len(key) + 1):  # `a.b = 1` makes `a` as well
            self._positions.setdefault(key[:length], line)

    def _header(self) -> Key:
        start = self._at
        array = self._text.startswith("[[", start)
        self._at += 2 if array else 1
        key = self._resolve(self._dotted())
        if array:
            place = self._counts[key] = self._counts.get(key, -1) + 1
            key = (*key, place)
        self._at = start
        self._note(key)
        self._at = self._end_of_line()
        return key

    def _resolve(self, key: Key) -> Key:
        """Within `[[a]]`, `[a.b]` is the last element's `b`."""
        found: Key = ()
        for index, part in enumerate(key):
            found = (*found, part)
            if found in self._counts and index < len(key) - 1:
                found = (*found, self._counts[found])
        return found

    def _end_of_line(self) -> int:
        end = self._text.find("\n", self._at)
        return len(self._text) if end < 0 else end

    def _dotted(self) -> Key:
        parts: list[str | int] = []
        while True:
            self._skip_blank()
            match = _BARE_OR_QUOTED.match(self._text, self._at)
            if match is None:
                raise ValueError(f"no key at {self._at}: the document is not valid TOML")
            self._at = match.end()
            word = match.group()
            quoted = word[0] in "\"'"
            parts.append(tomllib.loads(f"v = {word}")["v"] if quoted else word)
            self._skip_blank()
            if self._text[self._at] != ".":
                return tuple(parts)
            self._at += 1

    def _pair(self, section: Key) -> None:
        start = self._at
        key = (*section, *self._dotted())
        end, self._at = self._at, start
        self._note(key)
        self._at = end + 1  # behind the `=`
        self._value(key)

    def _value(self, key: Key) -> None:
        self._skip_blank()
        opening = self._text[self._at]
        if opening == "[":
            self._elements(key, closing="]")
        elif opening == "{":
            self._elements(key, closing="}")
        else:
            match = _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at)
            self._at = match.end() if match else self._end_of_line()

    def _elements(self, key: Key, *, closing: str) -> None:
        self._at += 1
        place = 0
        while self._skip_blank() and self._text[self._at] != closing:
            if closing == "}":
                self._pair(key)
            else:
                self._note((*key, place))
                self._value((*key, place))
                place += 1
            self._skip_blank()
            if self._text[self._at] == ",":
                self._at += 1
        self._at += 1

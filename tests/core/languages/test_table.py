import unicodedata

import pytest
from langdetect import DetectorFactory
from langdetect.detector_factory import PROFILES_DIRECTORY

from parrot_core.errors import MissingError, UsageError
from parrot_core.languages import (
    LANGUAGES,
    PAPER_LANGUAGES,
    add_languages,
    get_language,
    identify,
    parse_languages,
    script_of,
)

ROWS = pytest.mark.parametrize("row", LANGUAGES.values(), ids=list(LANGUAGES))


@ROWS
def test_a_row_is_written_in_its_own_letters(row):
    for words in (row.native_name, row.yes, row.no, row.answer_request):
        assert script_of(words) in row.scripts
        assert words == unicodedata.normalize("NFC", words)
    if row.letters is not None:
        strange = [
            letter
            for letter in f"{row.native_name}{row.yes}{row.no}".lower()
            if not letter.isascii() and letter not in row.letters
        ]
        assert not strange


@ROWS
def test_letters_are_stated_for_latin_ones_alone(row):
    assert (row.letters is not None) == (row.scripts == ("LATIN",)) or row.code == "vi"
    assert set(row.foreign_letters) <= set("abcdefghijklmnopqrstuvwxyz")


@ROWS
def test_who_is_written_from_right_to_left_says_so(row):
    sides = {unicodedata.bidirectional(letter) for letter in row.native_name if letter.isalpha()}
    assert row.right_to_left == (sides <= {"R", "AL"})


def test_names_are_those_of_one_language_each():
    for attribute in ("code", "name", "native_name", "answer_request", "flores"):
        values = [getattr(row, attribute) for row in LANGUAGES.values()]
        assert len(set(values)) == len(values)


def test_languages_that_share_a_script_have_letter_frequencies_to_tell_them_by():
    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    for row in LANGUAGES.values():
        others = [other for other in LANGUAGES.values() if set(other.scripts) & set(row.scripts)]
        assert len(others) == 1 or (row.profile or row.code) in factory.langlist


@ROWS
def test_the_request_to_answer_is_in_the_language_or_left_open(row):
    assert identify(row.answer_request, list(LANGUAGES)) in (row.code, None)


def test_a_language_goes_by_its_code_its_name_and_the_spellings_of_the_field():
    assert get_language("CN").code == get_language("Chinese").code == "zh"
    assert get_language(" pt-BR ").code == "pt"
    assert get_language("zh-Hant").code == get_language("zh_TW").code == "zh-tw"
    with pytest.raises(UsageError, match="unknown language 'turkisch'") as caught:
        get_language("turkisch")
    assert "Did you mean turkish?" in caught.value.hint


def test_lists_of_languages_keep_their_order_and_repeat_none():
    assert parse_languages("tr, ar,Turkish") == ["tr", "ar"]
    assert parse_languages("all") == list(PAPER_LANGUAGES)
    with pytest.raises(UsageError, match="no language"):
        parse_languages(" , ")


QUECHUA = """
[qu]
name = "Quechua"
native_name = "Runasimi"
yes = "Arí"
no = "Manam"
answer_request = "Runasimipi kutichiy."
letters = "áéíñóú"
"""


def test_a_users_file_adds_languages_and_replaces_those_that_are_there(tmp_path, monkeypatch):
    for code in ("qu", "sw"):  # to be as before, afterwards
        monkeypatch.setitem(LANGUAGES, code, LANGUAGES["sw"])
    path = tmp_path / "mine.toml"
    path.write_text(QUECHUA + QUECHUA.replace("[qu]", "[sw]"), encoding="utf-8")
    add_languages(path)
    assert parse_languages("quechua") == ["qu"]
    assert get_language("qu").scripts == ("LATIN",)
    assert LANGUAGES["sw"].native_name == "Runasimi"


def test_a_language_without_profile_is_told_by_letters_or_left_open(tmp_path, monkeypatch):
    monkeypatch.setitem(LANGUAGES, "qu", LANGUAGES["sw"])
    path = tmp_path / "mine.toml"
    path.write_text(QUECHUA, encoding="utf-8")
    add_languages(path)
    assert identify("Kırmızı elma ağacı", ["tr", "qu"]) == "tr"
    assert identify("Runasimipi kutichiy", ["tr", "qu"]) is None
    assert identify("красное яблоко", ["ru", "qu"]) == "ru"


def test_every_mistake_in_a_users_file_is_named_and_nothing_of_it_is_added(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[qu]\nnme = "Quechua"\nyes = 3\nscripts = "LATIN"\ncharacter_set = "rot13"\n',
        encoding="utf-8",
    )
    with pytest.raises(UsageError) as caught:
        add_languages(path)
    for problem in (
        "qu.nme: unknown key; did you mean name?",
        "qu.yes: 3 is not a text",
        "qu.scripts: 'LATIN' is not a list of texts",
        "qu.answer_request: missing",
        "qu.character_set: Python knows no character set 'rot13'",
    ):
        assert f"{path}: {problem}" in caught.value.problem
    assert "qu" not in LANGUAGES
    path.write_text("[qu", encoding="utf-8")
    with pytest.raises(UsageError, match=r"mine\.toml"):
        add_languages(path)
    with pytest.raises(MissingError, match="No such file"):
        add_languages(tmp_path / "none.toml")

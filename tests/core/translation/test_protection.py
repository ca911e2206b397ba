import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrot_core.translation.protection import (
    lost_parts,
    needs_translation,
    spans,
    split_edges,
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("See <image> and <b>this</b>.", ["<image>", "<b>", "</b>"]),
        ("Run `x = 1` at https://a.example/b?c=1.", ["`x = 1`", "https://a.example/b?c=1"]),
        ("(see www.a.example), or a@b.example!", ["www.a.example", "a@b.example"]),
        (r"So $x^2$ costs $5, not \(y\).", ["$x^2$", r"\(y\)"]),
        ("Hello {name}, %s", ["{name}", "%s"]),
        ("<|im_start|>assistant", ["<|im_start|>"]),
        ("a < b and b > c", []),
    ],
)
def test_what_must_stay_is_found_without_the_punctuation_after_it(text: str, parts: list[str]):
    assert [span.text for span in spans(text)] == parts


@pytest.mark.parametrize(
    ("source", "output", "words"),
    [
        ("Look at <image>.", "Bak.", "'<image>' is missing"),
        ("Look.", "Bak <image>.", "'<image>' was added"),
        ("Use `a`.", "`b` kullan.", "'`a`' is missing"),
        ("It has 12 cars.", "Araba var.", "number 12 is missing"),
        ("A. red\nB. green", "kırmızı\nB. yeşil", None),
        ("A. red\nB. green", "kırmızı\nyeşil", "option letter A is missing"),
    ],
)
def test_what_is_lost_is_named(source: str, output: str, words: str | None):
    found = "; ".join(lost_parts(source, output))
    assert (words or "option letter A") in found


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("It costs 1,000.5 dollars.", "Fiyatı 1.000,5 dolar."),
        ("There are 12.", "يوجد ١٢."),
        ("Two cars.", "2 araba."),
        ("A. red\nB. green", "A) kırmızı\nB) yeşil"),
    ],
)
def test_numbers_and_options_may_be_written_as_the_language_does(source: str, output: str):
    assert lost_parts(source, output) == []


@given(st.text(alphabet=st.sampled_from("ab <image>\n`$x{}/1٣")))
def test_a_text_loses_nothing_to_itself_and_edges_join(text: str):
    assert lost_parts(text, text) == []
    before, core, after = split_edges(text)
    assert before + core + after == text
    assert core == core.strip()
    assert not core.startswith("<image>")


def test_edges_hold_placeholders_and_space_alone():
    assert split_edges("<image>\n<image> What is <image>?\n") == (
        "<image>\n<image> ",
        "What is <image>?",
        "\n",
    )


def test_what_has_no_words_needs_no_translation():
    for text in ("", "42", "B", "https://a.example", "`x = y`", "12.5 %"):
        assert not needs_translation(text)
    for text in ("Yes", "B is right", "是", "a red car"):
        assert needs_translation(text)

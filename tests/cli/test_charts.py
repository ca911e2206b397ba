"""Fonts and files of charts: every script can be read, and the same chart is the same file."""

import warnings

import pytest

from parrot_cli import charts

WORDS = ["picture", "görülüyor", "картинке", "الصورة", "图片", "चित्र", "🦜"]


def draw(words, path):
    """Draws words as labels; a letter that no font has makes matplotlib warn, which is an error."""
    with charts.fonts_for(words) as legible, warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = charts.new_figure(3, 3)
        axes = figure.add_subplot()
        axes.barh(range(len(words)), [1] * len(words))
        shown = [legible(word) for word in words]
        axes.set_yticks(range(len(words)), shown)
        charts.save_figure(figure, path)
    return shown


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_words_of_every_script_are_drawn_without_empty_boxes(tmp_path, ending):
    shown = draw(WORDS, tmp_path / f"a.{ending}")
    assert shown[:4] == WORDS[:4]
    assert all(shown)


def test_where_no_font_has_the_letters_they_are_transliterated(tmp_path, monkeypatch):
    monkeypatch.setattr(charts, "_installed_fonts", list)
    shown = draw(WORDS, tmp_path / "a.png")
    assert shown[:4] == WORDS[:4]
    assert shown[4] == "TuPian"
    assert shown[5].isascii()


def test_a_font_that_has_the_letters_is_found(tmp_path, monkeypatch):
    """The base font's letters are hidden, so that another one must be looked for."""
    from matplotlib.font_manager import findfont

    serif, sans = str(findfont("DejaVu Serif")), str(findfont("DejaVu Sans"))
    real = charts._letters_of
    monkeypatch.setattr(
        charts, "_letters_of", lambda file: real(file) - {"ж"} if file == sans else real(file)
    )
    monkeypatch.setattr(charts, "_installed_fonts", lambda: [("DejaVu Serif", serif)])
    with charts.fonts_for(["жизнь"]) as legible:
        import matplotlib

        assert matplotlib.rcParams["font.family"] == ["DejaVu Sans", "DejaVu Serif"]
        assert legible("жизнь") == "жизнь"


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_same_chart_is_the_same_file(tmp_path, ending):
    for name in ("a", "b"):
        draw(WORDS[:4], tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_installed_fonts_are_one_of_each_family():
    families = [family for family, _ in charts._installed_fonts()]
    assert len(families) == len(set(families))
    assert "DejaVu Serif" in families

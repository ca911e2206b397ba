import json

import pytest

from parrot_core.data.emoji.materials import (
    STYLES,
    Annotation,
    CatalogueEntry,
    load_materials,
    normal_codepoints,
    parse_annotations,
    parse_catalogue,
    parse_icons,
)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("1F34E", "1f34e"),
        ("002A-FE0F-20E3", "2a-20e3"),
        ("a9", "a9"),
        ("2764-fe0f-200d-1f525", "2764-200d-1f525"),
    ],
)
def test_the_packages_habits_of_writing_codepoints_become_one(written, normal):
    assert normal_codepoints(written) == normal


def test_the_catalogue_is_in_unicodes_order_and_without_what_has_no_group():
    emoji = [
        {"hexcode": "1F511", "order": 9, "group": 7, "subgroup": 70},
        {"hexcode": "1F1E6"},
        {"hexcode": "2615-FE0F", "order": 2, "group": 4, "subgroup": 40},
    ]
    names = {
        "groups": {"4": "food-drink", "7": "objects"},
        "subgroups": {"40": "drink", "70": "lock"},
    }
    assert parse_catalogue(emoji, names) == [
        CatalogueEntry(codepoints="2615", group="food-drink", subgroup="drink"),
        CatalogueEntry(codepoints="1f511", group="objects", subgroup="lock"),
    ]


def test_annotations_are_keyed_by_codepoints_and_need_a_name():
    document = json.loads(
        '{"annotations": {"annotations": {'
        '"\\u26bd": {"default": ["top", "oyun"], "tts": ["futbol topu"]},'
        '"\\ud83d\\udc69\\u200d\\ud83c\\udf73": {"tts": ["aşçı"]}, "x": {"default": ["y"]}}}}'
    )
    assert parse_annotations(document) == {
        "26bd": Annotation(name="futbol topu", keywords=("top", "oyun")),
        "1f469-200d-1f373": Annotation(name="aşçı", keywords=()),
    }


def test_icons_become_svg_in_their_own_size_or_the_sets():
    icons = {
        "width": 32,
        "height": 32,
        "icons": {"key": {"body": "<g/>"}, "tall": {"body": "<path/>", "height": 40}},
    }
    drawings = parse_icons(icons, {"1f511": "key", "26bd-fe0f": "tall"})
    assert 'viewBox="0 0 32 32"><g/></svg>' in drawings["1f511"]
    assert 'viewBox="0 0 32 40"><path/></svg>' in drawings["26bd"]


def test_four_styles_come_from_four_sources():
    assert len({source.package for source in STYLES.values()}) == len(STYLES) == 4


def test_loading_needs_nothing_written_but_the_cache(tmp_path, monkeypatch):
    from parrot_core.errors import MissingError

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(MissingError, match="npm client"):
        load_materials(tmp_path / "cache", languages=["en"])
    assert not (tmp_path / "cache").exists()

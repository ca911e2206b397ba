from dataclasses import replace

import pytest

from parrot_core.data.emoji.concepts import comparable, concept_table, select_concepts
from parrot_core.data.emoji.materials import Annotation, CatalogueEntry
from parrot_core.errors import UsageError


def rename(materials, code, codepoints, name):
    rows = {**materials.annotations[code], codepoints: Annotation(name=name, keywords=())}
    return replace(materials, annotations={**materials.annotations, code: rows})


def keys(concepts):
    return [concept.codepoints for concept in concepts]


def test_the_table_has_a_name_and_keywords_in_every_language(materials):
    table = concept_table(materials)
    assert keys(table) == [entry.codepoints for entry in materials.catalogue]
    apple = next(concept for concept in table if concept.codepoints == "1f34e")
    assert (apple.names["en"], apple.names["ru"]) == ("apple", "яблоко")
    assert apple.keywords["tr"] == ("elma", "tr-food-fruit")


def test_what_one_style_does_not_draw_is_left_out(materials):
    fluent = {key: svg for key, svg in materials.artwork["fluent"].items() if key != "1f34e"}
    materials = replace(materials, artwork={**materials.artwork, "fluent": fluent})
    assert "1f34e" not in keys(concept_table(materials))


def test_what_one_language_does_not_name_is_left_out(materials):
    arabic = {key: row for key, row in materials.annotations["ar"].items() if key != "1f34e"}
    materials = replace(materials, annotations={**materials.annotations, "ar": arabic})
    assert "1f34e" not in keys(concept_table(materials))


def test_flags_and_components_are_no_concepts(materials):
    catalogue = [
        CatalogueEntry(codepoints="1f34e", group="flags", subgroup="flag"),
        CatalogueEntry(codepoints="1f35e", group="component", subgroup="hair-style"),
        CatalogueEntry(codepoints="1f511", group="objects", subgroup="lock"),
    ]
    assert keys(concept_table(replace(materials, catalogue=catalogue))) == ["1f511"]


@pytest.mark.parametrize(
    ("code", "first", "second"),
    [("en", "Cat", "cat"), ("ar", "إوزة", "إوزّة"), ("pt", "pá", "pa\u0301")],
)
def test_of_two_concepts_with_one_name_the_first_stays(materials, code, first, second):
    materials = rename(rename(materials, code, "1f408", first), code, "1f511", second)
    table = keys(concept_table(materials))
    assert "1f408" in table
    assert "1f511" not in table


@pytest.mark.parametrize(("one", "other"), [("sarı", "sari"), ("pão", "pao"), ("ёж", "еж")])
def test_letters_that_differ_make_different_names(one, other):
    assert comparable(one) != comparable(other)


def test_the_selection_leaves_out_clocks_and_other_groups(materials):
    table = concept_table(materials)
    assert "1f550" not in keys(select_concepts(table))
    assert keys(select_concepts(table, groups=["food-drink"])) == ["1f34e", "1f35e"]


def test_a_long_name_in_one_language_leaves_a_concept_out(materials):
    table = concept_table(rename(materials, "pt", "1f511", "chave de casa"))
    assert "1f511" not in keys(select_concepts(table, max_words=2))
    assert "1f511" in keys(select_concepts(table, max_words=3))


def test_chinese_names_are_measured_in_characters(materials):
    table = concept_table(rename(materials, "zh", "1f511", "五个汉字长"))
    assert "1f511" not in keys(select_concepts(table, max_chinese_characters=4))
    assert "1f511" in keys(select_concepts(table, max_chinese_characters=5))


@pytest.mark.parametrize("limit", [1, 2, 5, 9, 20])
def test_a_limit_spreads_over_the_table(materials, limit):
    everything = keys(select_concepts(concept_table(materials)))
    limited = keys(select_concepts(concept_table(materials), limit=limit))
    assert len(limited) == min(limit, len(everything))
    assert limited == [key for key in everything if key in limited]
    if limit == 2:
        assert everything.index(limited[1]) == len(everything) // 2


def test_an_unknown_group_is_named_beside_the_known_ones(materials):
    with pytest.raises(UsageError, match="unknown emoji group 'animals'") as caught:
        select_concepts(concept_table(materials), groups=["animals"])
    assert "animals-nature" in caught.value.hint


def test_a_selection_of_nothing_is_an_error(materials):
    with pytest.raises(UsageError, match="at most 0 words"):
        select_concepts(concept_table(materials), max_words=0)

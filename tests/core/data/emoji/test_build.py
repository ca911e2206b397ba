import csv
import hashlib
import json
import shutil
from dataclasses import replace

import pytest
from PIL import Image

from parrot_core.data.emoji.build import MANIFEST, build, build_demo
from parrot_core.data.samples import read_samples
from parrot_core.errors import MissingError, UsageError
from parrot_core.languages import PAPER_LANGUAGES

TRAINING_FILES = (
    "pictures-text/stage1.json",
    "pictures-text/stage2.json",
    "text.jsonl",
    "words.jsonl",
)
WITHOUT_PICTURES = ("text.jsonl", "words.jsonl")


@pytest.fixture
def made(materials, settings, tmp_path):
    return build(materials, tmp_path / "set", settings=settings)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_training_files_are_samples_whose_pictures_are_there(made):
    for name in TRAINING_FILES:
        samples = list(read_samples(made.folder / name))
        assert samples
        for sample in samples:
            assert len(sample.images) == (name not in WITHOUT_PICTURES)
            assert all((made.folder / image).is_file() for image in sample.images)


@pytest.mark.parametrize("held_out", ["noto", "openmoji"])
def test_no_training_file_shows_a_picture_of_a_held_out_style(
    materials, settings, tmp_path, held_out
):
    styles = {"openmoji", "twemoji", "noto"} - {held_out}
    settings = replace(settings, training_styles=tuple(sorted(styles)), test_style=held_out)
    folder = build(materials, tmp_path / "set", settings=settings).folder
    seen = {
        image.split("/")[1]
        for name in TRAINING_FILES
        for sample in read_samples(folder / name)
        for image in sample.images
    }
    assert seen == styles
    for name in TRAINING_FILES:
        text = (folder / name).read_text(encoding="utf-8")
        assert f"images/{held_out}/" not in text
        assert "images/fluent/" not in text  # the validation style


def test_pictures_lie_where_the_table_says(made, settings):
    table = json.loads((made.folder / "concepts.json").read_text(encoding="utf-8"))
    assert [row["codepoints"] for row in table] == [c.codepoints for c in made.concepts]
    assert table[0]["names"]["tr"] == "fare"
    for style in settings.styles:
        names = {path.stem for path in (made.folder / "images" / style).iterdir()}
        assert names == {row["codepoints"] for row in table}
        with Image.open(made.folder / "images" / style / "1f34e.png") as picture:
            assert (picture.mode, picture.size) == ("RGB", (128, 128))


@pytest.mark.parametrize(
    ("place", "split", "style"),
    [("benchmarks", "test", "noto"), ("benchmarks/validation", "validation", "fluent")],
)
def test_each_benchmark_shows_the_style_of_its_role(made, place, split, style):
    import base64

    pictures = {p.read_bytes() for p in (made.folder / "images" / style).iterdir()}
    for code in PAPER_LANGUAGES:
        for form, count in (("naming", 8), ("yesno", 16)):
            path = made.folder / place / f"emoji_{form}_{code}.tsv"
            with path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file, delimiter="\t"))
            assert len(rows) == count
            assert {row["split"] for row in rows} == {split}
            cells = [row["image"] for row in rows if not row["image"].isdecimal()]
            assert {base64.b64decode(cell) for cell in cells} <= pictures


def test_without_a_validation_style_there_is_no_validation(materials, settings, tmp_path):
    settings = replace(settings, validation_style=None)
    folder = build(materials, tmp_path / "set", settings=settings).folder
    assert not (folder / "benchmarks" / "validation").exists()
    assert not (folder / "images" / "fluent").exists()


def test_the_manifest_counts_and_hashes_what_is_there(made, settings):
    written = json.loads((made.folder / MANIFEST).read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(made.manifest))
    files = contents(made.folder)
    del files[MANIFEST]
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert written["files"] == hashes
    for name in ("stage1", "stage2"):
        count = len(list(read_samples(made.folder / "pictures-text" / f"{name}.json")))
        assert written["counts"]["samples"][name]["total"] == count
    assert written["counts"]["concepts"] == len(made.concepts) == 9
    assert written["counts"]["pictures"] == 36
    assert written["counts"]["questions"]["test"] == {"naming": 8, "yes_no_pairs": 8}
    assert written["styles"]["test"] == settings.test_style
    assert {row["licence"] for row in written["sources"]} >= {"CC-BY-SA-4.0", "Unicode-3.0"}


def test_the_same_settings_give_the_same_bytes(materials, settings, tmp_path):
    one = build(materials, tmp_path / "one", settings=settings).folder
    two = build(materials, tmp_path / "two", settings=settings).folder
    assert contents(one) == contents(two)
    other = build(materials, tmp_path / "other", settings=replace(settings, seed=1)).folder
    assert contents(one).keys() == contents(other).keys()
    assert contents(one)["text.jsonl"] != contents(other)["text.jsonl"]


def test_a_set_is_replaced_by_the_next(made, materials, settings):
    again = build(materials, made.folder, settings=replace(settings, validation_style=None))
    assert contents(again.folder).keys() == {*again.manifest["files"], MANIFEST}
    assert [path.name for path in made.folder.parent.iterdir()] == ["set"]


def test_an_empty_folder_is_used(materials, settings, tmp_path):
    (tmp_path / "set").mkdir()
    build(materials, tmp_path / "set", settings=settings)
    assert (tmp_path / "set" / MANIFEST).is_file()


def test_an_interrupted_build_leaves_what_was_there(made, materials, settings):
    before = contents(made.folder)

    def interrupt(done, total):
        if done == total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(materials, made.folder, settings=settings, progress=interrupt)
    assert contents(made.folder) == before
    assert [path.name for path in made.folder.parent.iterdir()] == ["set"]


def test_every_picture_is_told(materials, settings, tmp_path):
    told = []
    build(
        materials,
        tmp_path / "set",
        settings=settings,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(number, 36) for number in range(1, 37)]


def test_a_folder_of_something_else_is_left_alone(materials, settings, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(UsageError, match="exists and is no picture-text set"):
        build(materials, tmp_path / "mine", settings=settings)
    assert (tmp_path / "mine" / "thesis.txt").read_text(encoding="utf-8") == "years of work"


@pytest.mark.parametrize("manifest", ["{", "[]", '{"format": "other", "files": {}}'])
def test_a_manifest_of_something_else_does_not_count(materials, settings, tmp_path, manifest):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / MANIFEST).write_text(manifest, encoding="utf-8")
    with pytest.raises(UsageError, match="exists and is no picture-text set"):
        build(materials, tmp_path / "mine", settings=settings)


def test_a_set_with_a_file_of_the_users_is_left_alone(made, materials, settings):
    (made.folder / "notes.txt").write_text("keep me", encoding="utf-8")
    with pytest.raises(UsageError, match=r"notes\.txt is not of the picture-text set"):
        build(materials, made.folder, settings=settings)
    assert (made.folder / "notes.txt").is_file()


def test_the_output_is_checked_before_anything_is_fetched(tmp_path, settings):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(UsageError, match="exists and is no picture-text set"):
        build_demo(tmp_path / "mine", cache=tmp_path / "cache", settings=settings)
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_cannot_be_made_is_named(materials, settings, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(MissingError, match="cannot write") as caught:
        build(materials, tmp_path / "file" / "set", settings=settings)
    assert str(tmp_path / "file") in caught.value.problem
    assert "--output" in caught.value.hint


def test_a_full_disk_leaves_what_was_there(made, materials, settings, monkeypatch):
    before = contents(made.folder)

    def fill_the_disk(done, total):
        raise OSError(28, "No space left on device")

    with pytest.raises(MissingError, match="No space left on device"):
        build(materials, made.folder, settings=settings, progress=fill_the_disk)
    assert contents(made.folder) == before


def test_a_copy_elsewhere_is_the_same_set(made, materials, settings, tmp_path):
    shutil.copytree(made.folder, tmp_path / "copy")
    build(materials, tmp_path / "copy", settings=settings)
    assert contents(tmp_path / "copy") == contents(made.folder)

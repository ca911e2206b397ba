import json
from pathlib import Path

import pytest
from PIL import Image

from parrot_core.data.images import ImageError
from parrot_core.data.stats import UNDETERMINED, count_files, count_words, draw_stats
from parrot_core.errors import UsageError

TEXTS = {
    "en": ("What does the picture show?", "It shows a small house beside a tall tree."),
    "tr": ("Resimde ne görülüyor?", "Yüksek bir ağacın yanında küçük bir ev var."),
    "zh": ("图片里有什么？", "一座小房子。"),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    Image.new("RGB", (50, 20)).save(tmp_path / "b.png")
    records = []
    for number, code in enumerate(["en", "en", "en", "tr", "zh"]):
        question, answer = TEXTS[code]
        image = (["a.png"], ["b.png"], [], ["a.png"], [])[number]
        turns = [
            {"from": "human", "value": "<image>\n" * len(image) + question},
            {"from": "gpt", "value": answer},
        ]
        records.append({"id": str(number), "image": image, "conversations": turns})
    records[3]["language"] = "en"  # stated wrongly: the text decides
    turns = [{"from": "human", "value": "1 + 1"}, {"from": "gpt", "value": "2"}]
    records.append({"id": "5", "conversations": turns})
    path = tmp_path / "data.json"
    path.write_text(json.dumps(records))
    return path


def test_languages_are_told_from_the_text_and_not_from_what_is_stated(data: Path):
    stats = count_files([data])
    assert {code: part.samples for code, part in stats.languages.items()} == {
        "en": 3,
        UNDETERMINED: 1,
        "tr": 1,
        "zh": 1,
    }
    assert stats.languages["tr"].stated == {"en": 1}
    assert next(iter(stats.languages)) == "en"


def test_turns_words_images_and_tokens_are_counted(data: Path):
    stats = count_files([data], count_tokens=len, read_images=True)
    english = stats.languages["en"]
    assert (english.turns, english.images, english.text_only) == (6, 2, 1)
    assert english.words == 3 * (5 + 9)
    assert stats.languages["zh"].words == 6 + 5
    assert stats.languages["zh"].tokens == sum(map(len, TEXTS["zh"]))
    assert stats.different_images == 2
    assert stats.image_sizes == {"width": (30, 40.0, 50), "height": (20, 20.0, 20)}
    assert count_files([data]).languages["en"].tokens is None


def test_a_broken_image_is_an_error_only_where_images_are_read(data: Path):
    (data.parent / "b.png").write_text("no picture")
    assert count_files([data]).different_images == 2
    with pytest.raises(ImageError, match=r"b\.png"):
        count_files([data], read_images=True)


def test_the_plot_is_a_picture(data: Path, tmp_path: Path):
    draw_stats(count_files([data]), tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as image:
        assert image.width > 500
    draw_stats(count_files([data]), tmp_path / "plot.svg")
    assert "<svg" in (tmp_path / "plot.svg").read_text()


def test_there_is_no_plot_of_nothing(tmp_path: Path):
    empty = tmp_path / "empty.json"
    empty.write_text("[]")
    with pytest.raises(UsageError, match="no samples to draw"):
        draw_stats(count_files([empty]), tmp_path / "plot.png")


def test_words_of_scripts_without_spaces_are_signs():
    assert count_words("一座小房子。") == 5
    assert count_words("a small house") == 3

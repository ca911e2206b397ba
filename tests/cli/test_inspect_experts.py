"""`parrot inspect-experts` as a user has it: files, tables, pictures and mistakes."""

import csv
import json
import re

import pytest
import torch
from PIL import Image

from parrot_cli.app import main
from parrot_cli.inspect_experts import display
from parrot_core.inspection import built_in_conversations
from parrot_core.model import ParrotForConditionalGeneration


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, parrot):
    folder = tmp_path_factory.mktemp("checkpoint")
    for part in parrot:
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def inspect_experts(monkeypatch, capsys, tmp_path, checkpoint):
    """Runs the command on the checkpoint in an empty folder; returns code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, model=checkpoint):
        named = [] if model is None else ["--model", str(model)]
        monkeypatch.setattr("sys.argv", ["parrot", "inspect-experts", *named, *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return run


@pytest.fixture
def samples(tmp_path, tiny):
    """A training file of eight samples in each of two languages."""
    tiny.image(0).save(tmp_path / "a.png")
    asked = {"en": ("What is this?", "A cat"), "tr": ("Bu nedir?", "Bir kedi")}
    records = [
        {
            "id": f"{language}{number}",
            "image": "a.png",
            "language": language,
            "conversations": [
                {"from": "human", "value": f"<image>\n{question} {number}"},
                {"from": "gpt", "value": answer},
            ],
        }
        for language, (question, answer) in asked.items()
        for number in range(8)
    ]
    path = tmp_path / "samples.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def is_picture(path):
    if path.suffix == ".svg":
        return path.read_text(encoding="utf-8").startswith("<?xml")
    with Image.open(path) as picture:
        return len(picture.convert("RGB").getcolors(1 << 24)) > 3


def test_plain_json_is_the_weights_of_each_language_and_nothing_else(
    inspect_experts, parrot, tiny, tmp_path
):
    tiny.image(1).save(tmp_path / "b.png")
    code, out, err = inspect_experts("--image", "b.png", "--lang", "tr,en", "--json")
    assert code == 0, err
    means = json.loads(out)
    assert list(means) == ["tr", "en"]
    model, processor = parrot
    for language, weights in means.items():
        (chats,) = built_in_conversations([language], pictures=[tiny.image(1)]).values()
        rows = []
        for chat in chats:
            batch = processor.encode_conversations(
                [chat.messages], images=[chat.images], add_generation_prompt=True
            )
            with torch.no_grad():
                rows.append(model(**batch).routing_weights[0])
        assert weights == pytest.approx(torch.stack(rows).mean(dim=0).tolist(), abs=1e-5)
        assert sum(weights) == pytest.approx(1, abs=1e-5)


def test_data_may_be_several_files_or_their_folder(inspect_experts, samples, tmp_path):
    records = json.loads(samples.read_text(encoding="utf-8"))
    (tmp_path / "parts").mkdir()
    parts = []
    for language in ("en", "tr"):
        parts.append(tmp_path / "parts" / f"{language}.json")
        of_language = [record for record in records if record["language"] == language]
        parts[-1].write_text(json.dumps(of_language), encoding="utf-8")
    whole = inspect_experts("--data", samples, "--json")
    assert whole[0] == 0, whole[2]
    named = [word for part in parts for word in ("--data", part)]
    assert inspect_experts(*named, "--image-root", ".", "--json") == whole
    assert inspect_experts("--data", "parts", "--image-root", ".", "--json") == whole


def test_several_pictures_are_asked_about(inspect_experts, tiny, tmp_path):
    for number in range(2):
        tiny.image(number).save(tmp_path / f"{number}.png")
    asked = [["--image", "0.png"], ["--image", "1.png"], ["--image", "0.png", "--image", "1.png"]]
    first, second, both = (json.loads(inspect_experts(*a, "--json")[1]) for a in asked)
    for language, weights in both.items():
        pairs = zip(first[language], second[language], strict=True)
        assert weights == pytest.approx([(a + b) / 2 for a, b in pairs], abs=1e-5)


def test_everything_at_once_is_shown_and_written(inspect_experts, samples, tmp_path):
    code, out, err = inspect_experts(
        "--data", samples, "--words", "--ablate", "--tsne", "--output", "out"
    )
    assert code == 0, err
    for title in (
        "mean routing over 6 experts",
        "above or below the fair share",
        "entropy in bits",
        "use of the experts",
        "Jensen-Shannon distance",
        "language told by routing alone",
        "which words pulled the router",
        "change of the loss",
        "before → after the experts",
    ):
        assert title in out
    assert "nedir" in out
    written = {path.name for path in (tmp_path / "out").iterdir()}
    pictures = {
        f"{name}.{ending}"
        for name in ("routing", "heatmaps", "words", "ablation", "tokens")
        for ending in ("png", "svg")
    }
    tables = {"routing.json", "routing.csv", "words.csv", "ablation.csv", "tokens.csv"}
    assert written == pictures | tables
    assert all(is_picture(tmp_path / "out" / name) for name in pictures)
    assert all(name in err for name in written)


def test_tables_hold_what_the_report_holds(inspect_experts, samples, tmp_path):
    code, out, err = inspect_experts(
        "--data", samples, "--words", "--ablate", "--json", "--full", "--output", "out"
    )
    assert code == 0, err
    printed = json.loads(out)
    report = json.loads((tmp_path / "out" / "routing.json").read_text(encoding="utf-8"))
    assert {**report.pop("routing"), **report} == printed
    means = {(row["language"], row["expert"]): row for row in rows_of(tmp_path / "out/routing.csv")}
    for language in ("en", "tr"):
        for expert, weight in enumerate(printed[language], 1):
            row = means[language, str(expert)]
            assert float(row["mean"]) == weight
            assert float(row["deviation"]) == printed["deviation"][language][expert - 1]
            assert row["images"] == "8"
    scores = rows_of(tmp_path / "out/ablation.csv")
    off = [row["switched_off"] for row in scores if row["language"] == "tr"]
    assert off == ["none", "1", "2", "3", "4", "5", "6", "all"]
    assert float(scores[0]["loss"]) == printed["ablation"]["en"]["whole"]["loss"]
    words = rows_of(tmp_path / "out/words.csv")
    assert len(words) == sum(len(entries) for entries in printed["words"].values())


def test_json_has_beside_the_weights_only_what_was_asked_for(inspect_experts, samples):
    code, out, err = inspect_experts("--data", samples, "--words", "--json", "--lang", "tr")
    assert code == 0, err
    assert set(json.loads(out)) == {"tr", "words"}


def test_the_map_of_tokens_goes_to_a_folder_of_its_own_unless_told(inspect_experts, tmp_path):
    code, _, err = inspect_experts("--tsne", "--lang", "en,zh")
    assert code == 0, err
    assert "wrote to inspection" in err
    places = rows_of(tmp_path / "inspection" / "tokens.csv")
    assert {row["kind"] for row in places} == {"before", "after", "text"}
    assert {row["language"] for row in places} == {"en", "zh"}


def test_two_checkpoints_are_compared(inspect_experts, checkpoint, samples, tmp_path, tiny):
    for part in tiny.parrot(alpha=0.5):
        part.save_pretrained(tmp_path / "other")
    model, processor = tiny.parrot()
    with torch.no_grad():
        model.experts.router.neg_()
    for part in (model, processor):
        part.save_pretrained(tmp_path / "turned")
    compared = ["--data", samples, "--json", "--compare", checkpoint]
    code, out, err = inspect_experts(*compared, "other", model=None)
    assert code == 0, err
    assert max(json.loads(out)["distance"].values()) == pytest.approx(0, abs=1e-6)
    code, out, err = inspect_experts(*compared, "turned", "--output", "out", model=None)
    assert code == 0, err
    found = json.loads(out)
    assert found["distance"][found["most_changed"]] == max(found["distance"].values()) > 0.01
    assert is_picture(tmp_path / "out" / "comparison.png")
    saved = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert saved == found
    code, out, _ = inspect_experts("--data", samples, "--compare", checkpoint, "turned", model=None)
    assert "most changed: " in out
    for part in tiny.parrot(experts_enabled=False):
        part.save_pretrained(tmp_path / "plain")
    code, _, err = inspect_experts("--data", samples, "--compare", checkpoint, "plain", model=None)
    assert code == 2
    assert "error: plain has no experts to inspect" in err


def test_a_log_is_drawn_without_any_checkpoint(inspect_experts, tmp_path):
    (tmp_path / "run").mkdir()
    lines = [
        {
            "step": step,
            "routing_by_language": {
                "en": [0.5 + step / 100, 0.5 - step / 100],
                "tr": [0.5, 0.5],
            },
        }
        for step in (0, 10, 20)
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (tmp_path / "run" / "log.jsonl").write_text(text, encoding="utf-8")
    code, out, err = inspect_experts("--over-training", "run", "--output", "out", model=None)
    assert code == 0, err
    assert re.search(r"0\.0000 at step 0, 0\.\d*[1-9]\d* at step 20", out)
    assert is_picture(tmp_path / "out" / "over-training.png")
    assert len(rows_of(tmp_path / "out" / "over-training.csv")) == 12
    code, out, _ = inspect_experts("--over-training", "run", "--json", model=None)
    assert [entry["step"] for entry in json.loads(out)] == [0, 10, 20]


@pytest.mark.parametrize(
    ("arguments", "problem", "code"),
    [
        (["--data", "a.json", "--image", "b.png"], "--data and --image exclude", 2),
        (["--over-training", "run"], "--over-training and --model exclude", 2),
        (["--compare", "a", "b"], "--compare and --model exclude", 2),
        (["--ablate"], "--ablate scores answers", 2),
        (["--image-root", "."], "--image-root is where the images of samples lie", 2),
        (["--full"], "--full says more in JSON", 2),
        (["--dtype", "float99"], "unknown precision 'float99'", 2),
        (["--device", "nowhere"], "no device is called 'nowhere'", 2),
        (["--lang", "xx"], "unknown language 'xx'", 2),
        (["--data", "nowhere.json"], "nowhere.json", 3),
        (["--data", "."], "no data in .", 3),
        (["--image", "nowhere.png"], "nowhere.png", 3),
    ],
)
def test_a_mistake_is_one_line_and_a_hint(inspect_experts, arguments, problem, code):
    found, out, err = inspect_experts(*arguments)
    assert out == ""
    lines = err.splitlines()
    assert lines[0].startswith("error: ")
    assert problem in lines[0]
    assert lines[1].startswith("hint: ")
    assert len(lines) == 2
    assert found == code


def test_a_full_gpu_is_said(inspect_experts, samples, monkeypatch):
    def fill(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ParrotForConditionalGeneration, "encode_images", fill)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, 24_000_000_000))
    code, _, err = inspect_experts("--data", samples)
    assert code == 3
    assert "the GPU has 24 GB, 0.0 of them free, and this needs more" in err
    assert "hint: Free it of other work; CUDA_VISIBLE_DEVICES= before the command" in err


def test_a_folder_that_cannot_be_written_is_said(inspect_experts, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    code, _, err = inspect_experts("--lang", "en", "--output", "file/below")
    assert code == 3
    assert "error: cannot write to file/below" in err


VALUES = {"en": [0.5, -0.5], "tr": [0.0, 0.01]}
TEXTS = {"en": ["+0.5", "-0.5"], "tr": ["+0.0", "+0.01"]}


def heatmap(capsys, **changes):
    settings = {"columns": ["1", "2"], "title": "a title", "at_least": 0.1, **changes}
    display.print_heatmap(VALUES, texts=TEXTS, **settings)
    return capsys.readouterr().out


def test_a_heatmap_is_shaded_where_there_is_no_colour(capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    shown = heatmap(capsys)
    assert "+0.5 +█" in shown
    assert "-0.5 -█" in shown
    assert "+0.01 +·" in shown
    assert re.search(r"\+0\.0\s", shown)
    assert "\x1b[48" not in shown


def test_a_heatmap_is_coloured_on_one_scale_where_there_is_colour(capsys, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "48;2;230;130;0m +0.5" in heatmap(capsys)
    assert "48;2;128;115;214m" in heatmap(capsys)
    assert "48;2;255;255;255m +0.0 " in heatmap(capsys)
    assert "48;2;230;130;0m +0.5" not in heatmap(capsys, at_least=5.0)


def test_special_tokens_and_signs_are_no_words_to_read():
    readable = ["nedir", "图片", "A", "\u0938\u093f", "5"]
    assert [
        word for word in [*readable, "<|end|>", "[INST]", "?", "⏎"] if display.is_readable(word)
    ] == readable

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parrot_core.data.check import LengthLimit, check_files
from parrot_core.data.faults import KINDS
from parrot_core.errors import MissingError, UsageError


def sample(identity: str = "1", *, image=None, turns=None, **fields):
    turns = turns or [("human", "<image>\nWhat?" if image else "What?"), ("gpt", "That.")]
    record = {"id": identity, **fields}
    if image is not None:
        record["image"] = image
    return record | {"conversations": [{"from": role, "value": text} for role, text in turns]}


def write(path: Path, *records: object) -> Path:
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    return path


def kinds(path: Path, **options) -> list[str]:
    return [fault.kind for fault in check_files([path], **options).faults]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "good.png")
    (tmp_path / "text.jpg").write_text("no picture")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    return tmp_path


def test_a_good_file_has_no_faults(pictures: Path):
    path = write(
        pictures / "a.jsonl",
        sample("1", image="good.png", language="tr"),
        sample("2", turns=[("system", "Be brief."), ("human", "Hi"), ("gpt", "Hi")]),
        sample("3", image=["good.png"], turns=[("human", "<image>"), ("gpt", "A square.")]),
    )
    report = check_files([path])
    assert (report.records, report.images, report.faults) == (3, 2, [])


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ([1], "not-a-sample"),
        ({"id": "1"}, "not-a-sample"),
        ({"id": "1", "conversations": ["hello"]}, "not-a-sample"),
        (sample(turns=[("human", "half: \ud83d"), ("gpt", "b")]), "not-unicode"),
        (sample(language=["en"]), "unknown-language"),
        (sample(image=7, turns=[("human", "a"), ("gpt", "b")]), "not-a-sample"),
        ({"id": "1", "conversations": [{"value": "a"}]}, "missing-role"),
        (sample(turns=[("user", "a"), ("gpt", "b")]), "unknown-role"),
        (sample(turns=[("gpt", "a"), ("human", "b")]), "role-order"),
        (sample(turns=[("human", "a")]), "role-order"),
        (sample(turns=[("human", "a"), ("gpt", "b"), ("gpt", "c")]), "role-order"),
        (sample(turns=[("human", "a"), ("gpt", " \n")]), "empty-turn"),
        (sample(turns=[("human", ""), ("gpt", "b")]), "empty-turn"),
        (sample(turns=[("human", "a \ud83d"), ("gpt", "b")]), "not-unicode"),
        (sample(image="good.png", turns=[("human", "a"), ("gpt", "b")]), "placeholder-count"),
        (sample(turns=[("human", "<image> a"), ("gpt", "b")]), "placeholder-count"),
        (
            sample(image="good.png", turns=[("human", "a"), ("gpt", "<image> b")]),
            "placeholder-in-answer",
        ),
        (sample(image="none.png"), "missing-image"),
        (sample(image="text.jpg"), "unreadable-image"),
        (sample(image="cut.png"), "truncated-image"),
        (sample(image="../good.png"), "outside-image"),
        (sample(language="xx"), "unknown-language"),
    ],
)
def test_each_fault_is_found_alone_and_named(pictures: Path, record: object, kind: str):
    path = write(pictures / "a.jsonl", record)
    assert kinds(path) == [kind]
    assert kind in KINDS


def test_half_a_character_has_no_tokens_and_is_still_named(tmp_path: Path, tiny):
    tiny.tokenizer().save_pretrained(tmp_path / "tokenizer")
    path = write(tmp_path / "a.jsonl", sample(turns=[("human", "half: \ud83d"), ("gpt", "b")]))
    length = LengthLimit(tokenizer=str(tmp_path / "tokenizer"), tokens=1, image_tokens=1)
    assert [fault.kind for fault in check_files([path], length=length).faults] == ["not-unicode"]


def test_all_faults_of_a_file_are_reported_with_their_lines(pictures: Path):
    path = pictures / "a.jsonl"
    path.write_text(
        "\n".join(
            [
                json.dumps(sample("1", image="good.png")),
                "{broken",
                json.dumps(sample("2", image="none.png", turns=[("human", "x"), ("gpt", "")])),
                "",
                json.dumps(sample("1")),
            ]
        )
    )
    found = [(fault.line, fault.kind) for fault in check_files([path]).faults]
    assert found == [
        (2, "bad-json"),
        (3, "empty-turn"),
        (3, "placeholder-count"),
        (3, "missing-image"),
        (5, "duplicate-id"),
    ]


def test_ids_may_repeat_between_files_but_not_within_one(tmp_path: Path):
    paths = [write(tmp_path / f"{name}.jsonl", sample("1")) for name in "ab"]
    assert check_files(paths).faults == []
    array = tmp_path / "c.json"
    array.write_text(json.dumps([sample("1"), sample("1"), sample("1")]))
    assert kinds(array) == ["duplicate-id"] * 2


def test_faults_can_be_let_pass_by_kind_but_only_by_a_known_one(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", sample("1"), sample("1"))
    assert kinds(path, ignore=["duplicate-id"]) == []
    with pytest.raises(UsageError, match="no such kind of fault: typo"):
        check_files([path], ignore=["typo"])


def test_workers_change_nothing_but_the_time(pictures: Path):
    records = [sample(str(i), image=("good.png", "none.png", "cut.png")[i % 3]) for i in range(200)]
    path = write(pictures / "a.jsonl", *records)
    seen: list[int] = []
    alone = check_files([path])
    together = check_files([path], workers=2, on_progress=lambda now: seen.append(now.records))
    assert together.as_dict() == alone.as_dict()
    assert len(alone.faults) == 133
    assert seen == sorted(seen)
    assert seen[-1] == 200


def test_over_long_samples_are_found_with_a_tokenizer(tmp_path: Path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[unk]": 0}, unk_token="[unk]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path / "tokenizer")
    path = write(tmp_path / "a.jsonl", sample("1", turns=[("human", "a b c"), ("gpt", "d e")]))
    for tokens, expected in ((5, []), (4, ["too-long"])):
        limit = LengthLimit(tokenizer=str(tmp_path / "tokenizer"), tokens=tokens)
        assert kinds(path, length=limit) == expected
    with pytest.raises(MissingError, match="cannot load a tokenizer"):
        check_files([path], length=LengthLimit(tokenizer=str(tmp_path / "nowhere")))

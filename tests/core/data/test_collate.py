import json
import pickle
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader

from parrot_core.data.broken import BrokenSamples
from parrot_core.data.collate import IGNORED_LABEL, Collator
from parrot_core.data.dataset import SampleSet
from parrot_core.data.first_batch import show_samples
from parrot_core.data.sent import pack
from parrot_core.errors import MissingError, UsageError

ENGLISH, TURKISH = ("What?", "A cat."), ("Ne?", "Bir kedi.")


def record(number, *, image="good.png", language="en", answer=None):
    question, usual = ENGLISH if language == "en" else TURKISH
    shown = {"image": image} if image else {}
    turns = [
        {"from": "human", "value": f"{'<image>' if image else ''}{question}"},
        {"from": "gpt", "value": answer or usual},
    ]
    return {"id": str(number), **shown, "language": language, "conversations": turns}


@pytest.fixture
def workshop(tmp_path, tiny, parrot):
    """Ten samples: 2 and 3 have a damaged picture, 4 one that shows nothing."""
    tiny.image(1).save(tmp_path / "good.png")
    data = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    tiny.image(1, size=(1, 40)).save(tmp_path / "thin.png")
    images = {2: "cut.png", 3: "cut.png", 4: "thin.png", 7: None}
    records = [
        record(n, image=images.get(n, "good.png"), language="tr" if n == 5 else "en")
        for n in range(10)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    samples = SampleSet(["a.jsonl"], root=tmp_path, max_bad_samples=3)

    def collator(**settings):
        return Collator(parrot[1], root=tmp_path, **{"max_length": 400} | settings)

    return SimpleNamespace(
        folder=tmp_path,
        samples=samples,
        collator=collator,
        processor=parrot[1],
        place=lambda number: f"{tmp_path / 'a.jsonl'}:{number + 1}",
    )


@pytest.mark.parametrize(("number", "fault"), [(2, "truncated"), (4, "too small to show")])
def test_a_broken_picture_stops_the_run_with_the_place_of_its_sample(workshop, number, fault):
    batch = [workshop.samples[1], workshop.samples[number]]
    with pytest.raises(UsageError, match=fault) as caught:
        workshop.collator()(batch)
    assert caught.value.problem.startswith(f"{workshop.place(number)}: ")


def test_allowed_broken_samples_are_counted_and_the_next_like_them_stand_in(workshop):
    file = workshop.folder / "broken.jsonl"
    broken = workshop.samples.broken_samples(file)
    collate = workshop.collator(broken=broken, stand_ins=workshop.samples.stand_ins)
    batch = collate([workshop.samples[0], workshop.samples[2], workshop.samples[4]])
    # 3 is as broken as 2, 4 as well, 5 is Turkish: 6 is the next.
    good = workshop.collator()([workshop.samples[number] for number in (0, 6, 6)])
    assert batch.keys() == good.keys()
    assert all(torch.equal(batch[name], good[name]) for name in good)
    assert set(broken.found()) == {workshop.place(number) for number in (2, 3, 4)}
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines] == ["2", "3", "4"]
    collate([workshop.samples[2]])  # seen again, counted once
    assert len(file.read_text(encoding="utf-8").splitlines()) == 3


def test_one_broken_sample_too_many_stops_the_run_whichever_process_finds_it(workshop):
    file = workshop.folder / "broken.jsonl"
    one, two = (BrokenSamples(allowed=2, known=1, file=file) for _ in range(2))
    workshop.collator(broken=one, stand_ins=workshop.samples.stand_ins)
    one.add(workshop.samples[2], UsageError("damaged"))
    one.add(workshop.samples[2], UsageError("damaged"))
    with pytest.raises(UsageError, match=r"3 broken samples, 2 are allowed") as caught:
        two.add(workshop.samples[3], UsageError("damaged, too"))
    assert workshop.place(2) in caught.value.problem
    assert workshop.place(3) in caught.value.problem
    one.forget()
    assert BrokenSamples(allowed=2, file=file).found() == {}


def test_what_is_too_long_is_cut_where_that_is_the_rule(workshop):
    workshop.folder.joinpath("b.jsonl").write_text(
        json.dumps(record(0, answer="word " * 100)) + "\n" + json.dumps(record(1))
    )
    samples = list(SampleSet(["b.jsonl"], root=workshop.folder))
    whole = workshop.collator(max_length=2000)(samples)
    cut = workshop.collator(max_length=90, over_long="truncate")(samples)
    for name in ("input_ids", "attention_mask", "guidance_mask", "labels"):
        assert torch.equal(cut[name], whole[name][:, :90])
    assert torch.equal(cut["pixel_values"], whole["pixel_values"])
    with pytest.raises(UsageError, match=r"b\.jsonl:1: \d+ tokens, 90 are allowed"):
        workshop.collator(max_length=90)(samples)
    with pytest.raises(UsageError, match=r"b\.jsonl:1: 20 of its \d+ tokens teach nothing"):
        workshop.collator(max_length=20, over_long="truncate")(samples)


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_read_samples_in_their_workers_and_their_errors_stay_one_line(workshop, workers):
    def loader(indices, **settings):
        return DataLoader(
            workshop.samples,
            sampler=indices,
            batch_size=2,
            num_workers=workers,
            collate_fn=workshop.collator(**settings),
        )

    read = list(loader([0, 1, 7, 8]))
    expected = workshop.collator()([workshop.samples[7], workshop.samples[8]])
    assert torch.equal(read[1]["input_ids"], expected["input_ids"])
    with pytest.raises(UsageError) as caught:
        list(loader([0, 2]))
    assert caught.value.problem.startswith(f"{workshop.place(2)}: cannot decode image")
    assert "\n" not in caught.value.problem
    assert caught.value.hint


def test_a_sent_error_is_the_error_that_was_sent():
    sent = pack(MissingError("no such\nthing", hint="Look."))
    for made in (
        type(sent)(f"Caught it.\nTraceback\n  SentError: {sent}"),
        pickle.loads(pickle.dumps(sent)),
    ):
        assert (made.problem, made.hint, made.exit_code) == ("no such\nthing", "Look.", 3)


def test_the_first_batch_is_shown_as_the_model_reads_it_with_what_is_learnt(workshop):
    samples = [workshop.samples[0], workshop.samples[7]]
    processor = workshop.processor
    batch = workshop.collator()(samples)
    pictured, text = show_samples(
        samples,
        batch,
        decode=processor.tokenizer.decode,
        image_token_id=processor.image_token_id,
    )
    assert [(piece.text, piece.learnt) for piece in text.pieces] == [
        ("<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\n", False),
        ("A cat.<|im_end|>", True),
    ]
    assert [piece.image_tokens for piece in pictured.pieces] == [
        0,
        processor.num_image_tokens,
        0,
        0,
    ]
    assert (pictured.place, pictured.language, pictured.images) == (
        workshop.place(0),
        "en",
        ("good.png",),
    )
    assert pictured.learnt == text.learnt == int((batch["labels"][1] != IGNORED_LABEL).sum())
    assert pictured.tokens == int(batch["attention_mask"][0].sum()) > text.tokens

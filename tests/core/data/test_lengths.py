import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parrot_core.data import lengths
from parrot_core.data.index import SampleIndex
from parrot_core.data.lengths import Lengths
from parrot_core.model import ParrotProcessor
from parrot_core.model.supervision import IGNORED_LABEL

WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=20)


@st.composite
def conversations(draw):
    """A conversation, and how many images are in it."""
    turns, shown = [], 0
    if draw(st.booleans()):
        turns.append({"role": "system", "content": "Be brief: " + draw(WORDS)})
    for _ in range(draw(st.integers(1, 3))):
        images = draw(st.integers(0, 2))
        shown += images
        turns.append({"role": "user", "content": "<image>\n" * images + draw(WORDS)})
        answer = "  " * draw(st.integers(0, 1)) + "a" + draw(WORDS)
        turns.append({"role": "assistant", "content": answer})
    return turns, shown


@given(several=st.lists(conversations(), min_size=1, max_size=4))
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_measured_length_is_that_of_the_batch_and_no_shorter_cut_would_teach(
    parrot, tiny, several
):
    processor = parrot[1]
    measured = processor.measure_conversations([turns for turns, _ in several])
    for (turns, shown), (tokens, needed) in zip(several, measured, strict=True):
        images = [[tiny.image(0)] * shown]
        batch = processor.encode_conversations([turns], images=images, supervise=True)
        assert tokens == batch["input_ids"].shape[1]
        supervised = (batch["labels"][0] != IGNORED_LABEL).nonzero()
        placeholders = (batch["input_ids"][0] == processor.image_token_id).nonzero()
        ends = [int(supervised[0])] + ([int(placeholders[-1])] if shown else [])
        assert needed == max(ends) + 1


def record(text):
    turns = [{"from": "human", "value": "<image>Hi"}, {"from": "gpt", "value": text}]
    return {"id": "1", "image": "a.png", "conversations": turns}


@pytest.fixture
def index(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [json.dumps(record("yes " * (1 + number % 9))) for number in range(600)]
    lines[300] = "[]"
    path.write_text("\n".join(lines), encoding="utf-8")
    return SampleIndex(path, cache=tmp_path / "cache")


def files(index):
    return sorted(index.cache.folder.glob("*lengths*"))


def test_lengths_are_measured_once_for_a_tokenizer_and_a_number_of_image_tokens(
    index, parrot, tiny
):
    processor = parrot[1]
    found = Lengths(index, processor)
    assert (len(found.tokens()), found.tokens()[300], found.unusable) == (600, 0, {})
    (tokens, _) = processor.measure_conversations(
        [[{"role": "user", "content": "<image>Hi"}, {"role": "assistant", "content": "yes yes "}]]
    )[0]
    assert found.tokens()[1] == tokens
    (file,) = files(index)
    made = file.stat().st_mtime_ns
    copy = ParrotProcessor(
        processor.image_processor,
        processor.tokenizer,
        chat_template=processor.chat_template,
        num_image_tokens=processor.num_image_tokens,
    )
    assert np.array_equal(Lengths(index, copy).tokens(), found.tokens())
    assert [path.stat().st_mtime_ns for path in files(index)] == [made]
    more = ParrotProcessor(processor.image_processor, processor.tokenizer, num_image_tokens=50)
    longer = Lengths(index, more).tokens()
    assert set((longer - found.tokens()).tolist()) == {0, 50 - processor.num_image_tokens}
    assert len(files(index)) == 2


def test_what_the_chat_template_refuses_is_told_and_the_others_are_measured(tmp_path, parrot, tiny):
    processor = parrot[1]
    strict = ParrotProcessor(
        processor.image_processor,
        processor.tokenizer,
        chat_template="{% for m in messages %}{% if m.role == 'system' %}"
        "{{ raise_exception('no system turns here') }}{% endif %}{% endfor %}"
        + processor.tokenizer.chat_template,
        num_image_tokens=processor.num_image_tokens,
    )
    path = tmp_path / "a.jsonl"
    system = {"from": "system", "value": "Be brief."}
    refused = {**record("yes"), "conversations": [system, *record("yes")["conversations"]]}
    path.write_text("\n".join(map(json.dumps, (record("yes"), refused, record("no")))))
    found = Lengths(SampleIndex(path, cache=tmp_path / "cache"), strict)
    assert list(found.unusable) == [1]
    assert "no system turns here" in found.unusable[1]
    assert found.tokens()[0] > found.tokens()[2] > found.tokens()[1] == 0


@pytest.mark.slow
def test_several_processes_measure_what_one_does(index, parrot, monkeypatch, tmp_path):
    alone = Lengths(index, parrot[1], workers=1)
    (file,) = files(index)
    expected = alone.tokens(), alone.needed()
    file.unlink()
    monkeypatch.setattr(lengths, "_ROWS_FOR_A_WORKER", 100)
    together = Lengths(index, parrot[1], workers=2)
    assert np.array_equal(together.tokens(), expected[0])
    assert np.array_equal(together.needed(), expected[1])

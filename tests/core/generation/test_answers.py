import pytest
import torch

from parrot_core.errors import MissingError, UsageError
from parrot_core.generation import Conversation, answer, ask, load_for_use, routing, weigh
from parrot_core.languages import get_language

QUESTIONS = {
    "en": "What is in this picture?",
    "tr": "Bu resimde ne görülüyor?",
    "ar": "ماذا يظهر في هذه الصورة؟",
    "zh": "这张图片里有什么？",
}


@pytest.fixture
def conversations(tiny):
    """One, two and no pictures, of several lengths: what a batch mixes."""
    return [
        ask("What is this?", images=[tiny.image(0)]),
        ask(
            "Which of the two is the larger one, do you think?",
            images=[tiny.image(1), tiny.image(2)],
        ),
        ask("Bu ne?"),
    ]


def test_a_batch_answers_as_its_members_do_alone(parrot, conversations):
    together = answer(*parrot, conversations, max_new_tokens=8)
    for one, conversation in zip(together, conversations, strict=True):
        (alone,) = answer(*parrot, [conversation], max_new_tokens=8)
        assert one.text == alone.text
        assert len(one.routing or ()) == len(conversation.images)
        for row, expected in zip(one.routing or (), alone.routing or (), strict=True):
            assert row == pytest.approx(expected, abs=1e-5)
    assert len({one.text for one in together}) == 3


def test_candidates_weigh_what_the_model_gives_their_tokens_one_by_one(parrot, conversations):
    model, processor = parrot
    candidates = [["cat", "a longer dog"], ["Evet"], ["x", "y", "z"]]
    weighed = weigh(model, processor, conversations, candidates)
    assert [len(row) for row in weighed] == [2, 1, 3]
    for conversation, texts, weights in zip(conversations, candidates, weighed, strict=True):
        for text, weight in zip(texts, weights, strict=True):
            answered = [*conversation.messages, {"role": "assistant", "content": text}]
            inputs = processor.encode_conversations(
                [answered], images=[conversation.images], supervise=True
            )
            labels = inputs.pop("labels")[0]
            with torch.no_grad():
                scores = model(**inputs).logits[0].double().log_softmax(-1)
            places = (labels != -100).nonzero().flatten().tolist()
            direct = sum(scores[at - 1, labels[at]].item() for at in places)
            assert weight == pytest.approx(direct, abs=1e-4)


def test_earlier_answers_are_not_weighed(parrot, tiny):
    history = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "A long answer"},
    ]
    chat = ask("What is this?", images=[tiny.image(0)], history=history)
    ((short, long),) = weigh(*parrot, [chat], [["a", "a b c d e f g h"]])
    assert long < short < 0
    assert short > -20  # two tokens of a vocabulary of hundreds, not the fifteen before


def test_each_picture_is_routed_and_the_weights_sum_to_1(parrot, conversations):
    rows = routing(*parrot, conversations[:2])
    assert len(rows) == 3
    for row in rows:
        assert len(row) == parrot[0].config.num_experts
        assert sum(row) == pytest.approx(1, abs=1e-5)
    (first, second) = answer(*parrot, conversations[:2], max_new_tokens=2)
    flat = [*first.routing, *second.routing]
    for row, expected in zip(rows, flat, strict=True):
        assert row == pytest.approx(expected, abs=1e-5)


def test_an_answer_ends_where_it_is_told(parrot, conversations):
    (short,) = answer(*parrot, conversations[:1], max_new_tokens=2)
    (long,) = answer(*parrot, conversations[:1], max_new_tokens=12)
    assert len(short.text) <= 2
    assert len(long.text) > len(short.text)


def test_without_experts_there_is_no_routing(tiny, conversations):
    replies = answer(*tiny.parrot(experts_enabled=False), conversations, max_new_tokens=2)
    assert [reply.routing for reply in replies] == [None] * 3


@pytest.mark.parametrize("asked_in", QUESTIONS)
@pytest.mark.parametrize("wanted", QUESTIONS)
def test_the_answers_language_is_asked_for_only_where_the_question_is_in_another(asked_in, wanted):
    question = QUESTIONS[asked_in]
    (turn,) = ask(question, language=wanted).messages
    request = get_language(wanted).answer_request
    assert turn["content"] == (question if asked_in == wanted else f"{question} {request}")


def test_nothing_is_asked_for_where_no_language_is_wanted_or_none_recognised():
    for question in QUESTIONS.values():
        assert ask(question).messages[0]["content"] == question
    assert ask("123?", language="tr").messages[0]["content"] == "123?"


def test_a_placeholder_stands_for_each_picture_and_earlier_turns_stay(tiny):
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    asked = ask("What?", images=[tiny.image(0), tiny.image(1)], history=history)
    assert asked.messages[:2] == history
    assert asked.messages[2]["content"] == "<image>\n<image>\nWhat?"
    assert len(asked.images) == 2
    assert len(history) == 2


def test_what_was_said_before_changes_the_answer(parrot, tiny):
    alone = ask("What?", images=[tiny.image(0)])
    before = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    later = Conversation(messages=[*before, *alone.messages], images=alone.images)
    one, other = answer(*parrot, [alone, later], max_new_tokens=8)
    assert one.text != other.text


def test_a_checkpoint_is_loaded_for_use(parrot, conversations, tmp_path):
    model, processor = parrot
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = load_for_use(tmp_path, device="cpu")
    assert not loaded[0].training
    assert loaded[0].device == torch.device("cpu")
    expected = answer(*parrot, conversations, max_new_tokens=6)
    assert [a.text for a in answer(*loaded, conversations, max_new_tokens=6)] == [
        a.text for a in expected
    ]


def test_a_folder_without_a_checkpoint_is_said_to_be_none(tmp_path):
    with pytest.raises(MissingError, match=r"has no config\.json"):
        load_for_use(tmp_path)
    with pytest.raises(MissingError, match="does not exist"):
        load_for_use(tmp_path / "nowhere")


def test_what_loading_cannot_do_is_said(parrot, tmp_path, monkeypatch):
    for part in parrot:
        part.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="unknown precision 'float99'"):
        load_for_use(tmp_path, dtype="float99")
    with pytest.raises(UsageError, match="no device is called 'gpu'"):
        load_for_use(tmp_path, device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(MissingError, match="device cuda cannot be used"):
            load_for_use(tmp_path, device="cuda")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingError, match="4-bit weights need the package bitsandbytes"):
        load_for_use(tmp_path, device="cpu", four_bit=True)
    assert load_for_use(tmp_path, device="cpu", dtype="bfloat16")[0].dtype == torch.bfloat16

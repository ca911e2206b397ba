import pytest
import torch

from parrot_core.errors import UsageError
from parrot_core.generation import Row, Sampling, answer, ask, decode, encode_prompt
from parrot_core.generation.decoding import end_tokens


@pytest.fixture
def make_row(parrot, tiny):
    def make(question, *pictures, **settings):
        images = [tiny.image(number) for number in pictures]
        prompt = encode_prompt(*parrot, ask(question, images=images))
        return Row(prompt, **{"max_new_tokens": 12, **settings})

    return make


def test_rows_of_a_batch_end_as_they_would_alone(parrot, tiny, make_row):
    asked = [("What?", 0), ("Which of the two is larger, do you think?", 1, 2), ("Bu ne?",)]
    rows = [
        make_row(*one, max_new_tokens=limit) for one, limit in zip(asked, (3, 12, 7), strict=True)
    ]
    decode(*parrot, rows)
    for row, (question, *pictures) in zip(rows, asked, strict=True):
        images = [tiny.image(number) for number in pictures]
        (alone,) = answer(*parrot, [ask(question, images=images)], max_new_tokens=row.limit)
        assert row.text == alone.text
        assert row.ended in ("stop", "length")
        assert len(row.ids) <= row.limit
        for weights, expected in zip(row.routing or (), alone.routing or (), strict=True):
            assert weights == pytest.approx(expected, abs=1e-5)


def test_a_row_hears_of_its_end_while_others_go_on(parrot, make_row):
    long = make_row("What?", 0, max_new_tokens=12)
    seen = []

    class Short(Row):
        def on_end(self):
            seen.append(len(long.ids))

    short = Short(make_row("Which?", 1).prompt, max_new_tokens=2)
    decode(*parrot, [short, long])
    assert seen in ([1], [2])
    assert len(long.ids) > 2


def test_a_seed_gives_the_same_answer_in_any_company(parrot, make_row):
    warm = Sampling(temperature=1.5, seed=7)
    alone = make_row("What?", 0, sampling=warm)
    decode(*parrot, [alone])
    others = [make_row("Why, and since when?", 1, sampling=Sampling(temperature=2)) for _ in "ab"]
    again = make_row("What?", 0, sampling=warm)
    decode(*parrot, [others[0], again, others[1]])
    assert again.ids == alone.ids
    other = make_row("What?", 0, sampling=Sampling(temperature=1.5, seed=8))
    decode(*parrot, [other])
    assert other.ids != alone.ids


def test_draws_follow_the_softmax_of_the_scores(make_row):
    scores = torch.tensor([1.0, 0.0, -1.0, 2.0])
    row = make_row("?", sampling=Sampling(temperature=0.5, seed=0))
    counts = torch.bincount(torch.tensor([row.choose(scores) for _ in range(4000)]), minlength=4)
    expected = (scores / 0.5).softmax(dim=0)
    assert torch.allclose(counts / 4000, expected, atol=0.03)
    nucleus = make_row("?", sampling=Sampling(temperature=0.5, top_p=0.9, seed=0))
    # The most probable has 0.86 of the mass: the second is needed to reach 0.9, the third is not.
    assert {nucleus.choose(scores) for _ in range(400)} == {3, 0}


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.5}])
def test_what_no_distribution_has_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**wrong)


class Heard(Row):
    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.pieces = []

    def on_text(self, piece):
        self.pieces.append(piece)


@pytest.fixture
def say(parrot, make_row):
    """Feeds a row the tokens of a text, as a model that says it would."""

    def say(text, **settings):
        row = Heard(make_row("?").prompt, max_new_tokens=200, **settings)
        ends = frozenset(end_tokens(parrot[0]))
        for token in parrot[1].tokenizer(text)["input_ids"]:
            row.push(token, parrot[1], ends)
        row.push(next(iter(ends)), parrot[1], ends)
        return row

    return say


@pytest.mark.parametrize(
    "text", ["  A cat. ", "هذه فراشة", "这是蝴蝶", "a\n\nb ", "🦋🦋", "half \N{BUTTERFLY}"]
)
def test_pieces_are_whole_letters_and_together_the_text(say, text):
    row = say(text)  # one token per byte: letters come in parts
    assert "".join(row.pieces) == row.text == text.strip()
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in row.pieces)
    assert row.ended == "stop"


def test_an_end_in_the_midst_of_a_letter_is_shown_as_decoding_all_does(parrot, make_row):
    row = Heard(make_row("?").prompt, max_new_tokens=4)
    tokens = parrot[1].tokenizer("ab蝴")["input_ids"]
    for token in tokens:
        row.push(token, parrot[1], frozenset())
    assert row.ended == "length"
    assert row.text == parrot[1].tokenizer.decode(tokens[:4])
    assert "".join(row.pieces) == row.text


def test_stop_texts_end_an_answer_and_are_not_part_of_it(say):
    row = say("one END two", stop=["END", "never"])
    assert row.text == "".join(row.pieces) == "one"
    assert row.ended == "stop"
    assert say("one EN two", stop=["END"]).text == "one EN two"
    assert say("one EN", stop=["END"]).text == "one EN"


def test_an_answer_that_nobody_reads_any_more_stops_at_its_next_token(parrot, make_row):
    class Left(Row):
        def on_text(self, piece):
            self.cancel()

    row = Left(make_row("Tell me.").prompt, max_new_tokens=400, sampling=Sampling(temperature=3))
    decode(*parrot, [row])
    assert row.ended == "cancelled"
    assert len(row.ids) < 40


def test_whatever_a_listener_raises_stops_the_answer_at_once(parrot, make_row):
    class Interrupted(Heard):
        def on_text(self, piece):
            super().on_text(piece)
            raise KeyboardInterrupt

    row = Interrupted(make_row("Tell me.", 0).prompt, max_new_tokens=400)
    with pytest.raises(KeyboardInterrupt):
        decode(*parrot, [row])
    assert row.pieces == [row.text]
    assert row.routing is not None
    assert row.ended is None


def test_a_conversation_without_room_for_an_answer_is_refused(parrot):
    with pytest.raises(UsageError, match="the model takes 512"):
        encode_prompt(*parrot, ask("long " * 200))
    prompt = encode_prompt(*parrot, ask("x" * 400))
    assert Row(prompt, max_new_tokens=10_000).limit == prompt.room < 112

import copy

import pytest
import torch
import torch.nn.functional as F

from parrot_core.errors import UsageError
from parrot_core.generation import answer, weigh
from parrot_core.inspection import Asked, ablate


def direct(model, processor, chats, wording):
    """Loss and exact answers, conversation by conversation, from the model's own forward pass."""
    total, tokens, right = 0.0, 0, 0
    for chat in chats:
        said = {"role": "assistant", "content": chat.answers[wording]}
        batch = processor.encode_conversations(
            [[*chat.messages, said]], images=[chat.images], supervise=True
        )
        labels = batch.pop("labels")[0, 1:]
        with torch.no_grad():
            logits = model(**batch).logits[0, :-1]
        spoken = labels != -100
        total += float(F.cross_entropy(logits[spoken], labels[spoken], reduction="sum"))
        tokens += int(spoken.sum())
        right += int((logits[spoken].argmax(dim=-1) == labels[spoken]).all())
    return total / tokens, right / len(chats), tokens


def silenced(model, experts):
    """A copy whose named experts give nothing: their second matrices and biases are zero."""
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for expert in experts:
            changed.experts.down_proj[expert] = 0
            changed.experts.down_bias[expert] = 0
    return changed


def test_scores_are_those_of_models_whose_experts_give_nothing(parrot, answered):
    model, processor = parrot
    found = ablate(model, processor, answered, batch_size=3)
    for language, chats in answered.items():
        entry = found[language]
        loss, accuracy, tokens = direct(model, processor, chats, entry.wording)
        assert entry.whole.loss == pytest.approx(loss, rel=1e-4)
        assert entry.whole.accuracy == accuracy
        assert (entry.count, entry.tokens) == (8, tokens)
        for expert in range(6):
            loss, accuracy, _ = direct(silenced(model, [expert]), processor, chats, entry.wording)
            assert entry.without[expert].loss == pytest.approx(loss, rel=1e-4)
            assert entry.without[expert].accuracy == accuracy
        loss, _, _ = direct(silenced(model, range(6)), processor, chats, entry.wording)
        assert entry.bare.loss == pytest.approx(loss, rel=1e-4)
        assert entry.bare.loss != pytest.approx(entry.whole.loss, rel=1e-4)


def test_the_wording_is_the_one_that_the_whole_model_finds_likelier(parrot, answered):
    model, processor = parrot
    found = ablate(model, processor, answered)
    for language, chats in answered.items():
        sums = []
        for wording in range(2):
            loss, _, tokens = direct(model, processor, chats, wording)
            sums.append(loss * tokens)
        assert found[language].wording == sums.index(min(sums))


def test_what_a_model_says_greedily_is_exact_and_nothing_else_is(tiny, answered):
    model, processor = tiny.parrot()
    chats = answered["en"][:1]
    said = {"role": "assistant", "content": "a cat"}
    batch = processor.encode_conversations(
        [[*chats[0].messages, said]], images=[chats[0].images], supervise=True
    )
    model.train()
    optimizer = torch.optim.AdamW(model.language_model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    model.eval()
    (reply,) = answer(model, processor, chats, max_new_tokens=10)
    assert reply.text == "a cat"
    other = [Asked(messages=c.messages, images=c.images, answers=("a dog",)) for c in chats]
    taught, untaught = (
        ablate(model, processor, {"en": entries})["en"] for entries in (chats, other)
    )
    assert taught.whole.accuracy == 1
    assert taught.wording == 0
    assert untaught.whole.accuracy == 0
    assert untaught.whole.loss > taught.whole.loss


def test_questions_without_answers_are_refused(parrot, asked, answered):
    with pytest.raises(UsageError, match="no answers to score in tr"):
        ablate(*parrot, {"en": answered["en"], "tr": asked["tr"]})


def test_progress_counts_conversations(parrot, answered):
    seen = []
    ablate(*parrot, answered, batch_size=5, on_progress=lambda *entry: seen.append(entry))
    assert seen == [(5, 16), (8, 16), (13, 16), (16, 16)]


def test_a_checkpoint_without_experts_is_refused(tiny, answered):
    with pytest.raises(UsageError, match="no experts"):
        ablate(*tiny.parrot(experts_enabled=False), answered)


def test_where_options_are_weighed_the_likeliest_is_the_answer(parrot, asked):
    model, processor = parrot
    options = ("a cat", "bir kedi", "12", "Q")
    chats = [
        Asked(
            messages=chat.messages,
            images=chat.images,
            answers=(options[number % 4],),
            candidates=options,
        )
        for number, chat in enumerate([*asked["en"], *asked["tr"]])
    ]
    for parts, found in (
        (model, lambda entry: entry.whole),
        (silenced(model, range(6)), lambda entry: entry.bare),
    ):
        weights = weigh(parts, processor, chats, [options] * len(chats))
        hits = [row.index(max(row)) == number % 4 for number, row in enumerate(weights)]
        entry = ablate(model, processor, {"en": chats}, batch_size=5)["en"]
        assert found(entry).accuracy == sum(hits) / len(hits)
        assert 0 < sum(hits) < len(hits)
        losses = [-row[number % 4] for number, row in enumerate(weights)]
        assert found(entry).loss * entry.tokens == pytest.approx(sum(losses), rel=1e-4)


def test_questions_with_and_without_options_go_together(parrot, asked):
    options = ((), (), (), ("a cat", "Q"), ("a cat",), ("Q", "a cat", "bir kedi"))
    chats = [
        Asked(messages=c.messages, images=c.images, answers=("Q",), candidates=candidates)
        for c, candidates in zip(asked["en"][:6], options, strict=True)
    ]
    apart = [ablate(*parrot, {"en": [chat]})["en"] for chat in chats]
    together = ablate(*parrot, {"en": chats})["en"]
    for setting in range(6):
        right = sum(entry.without[setting].accuracy for entry in apart)
        assert together.without[setting].accuracy == pytest.approx(right / 6)
    assert {entry.whole.accuracy for entry in apart} == {0.0, 1.0}

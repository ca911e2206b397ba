import pytest
import torch

from parrot_core.errors import UsageError
from parrot_core.inspection import WordWatcher, routing_by_language, words_of_tokens

CASES = {
    "Bu nedir?": ["Bu", "nedir", "?"],
    "What's this?": ["What's", "this", "?"],
    "a 'b'": ["a", "'", "b", "'"],
    "हिन्दी में": ["हिन्दी", "में"],
    "ما هذا؟": ["ما", "هذا", "؟"],
    "не-что": ["не", "-", "что"],
}


@pytest.mark.parametrize(("text", "words"), CASES.items())
def test_letters_and_marks_run_together_to_words(text, words):
    places = [(place, place + 1) for place in range(len(text))]
    found = words_of_tokens(text, places)
    for (place, _), share in zip(places, found, strict=True):
        assert len(share) == 1
        assert text[place].isspace() or text[place] in next(iter(share))
    assert list(dict.fromkeys(word for share in found for word in share if word != "␣")) == list(
        dict.fromkeys(words)
    )


def test_where_no_space_parts_words_a_token_is_one():
    text = "这是什么？"
    assert words_of_tokens(text, [(0, 2), (2, 4), (4, 5)]) == [
        {"这是": 1.0},
        {"什么": 1.0},
        {"？": 1.0},
    ]


def test_tokens_that_are_parts_of_one_sign_are_one_word():
    """Byte-level tokens of one sign all stand at its place."""
    assert words_of_tokens("猫 狗", [(0, 1), (0, 1), (0, 1), (1, 2), (2, 3)]) == [
        *([{"猫": 1.0}] * 3),
        {"␣": 1.0},
        {"狗": 1.0},
    ]


def test_a_token_of_two_words_is_shared_by_their_letters():
    assert words_of_tokens("ab cde", [(0, 6)]) == [
        {"ab": pytest.approx(0.4), "cde": pytest.approx(0.6)}
    ]


def test_special_tokens_are_words_and_white_space_is_shown():
    text = "<|im_start|>user\n"
    found = words_of_tokens(text, [(0, 12), (12, 16), (16, 17)], whole=frozenset({"<|im_start|>"}))
    assert found == [{"<|im_start|>": 1.0}, {"user": 1.0}, {"⏎": 1.0}]


def watch(parrot, asked):
    watcher = WordWatcher(*parrot)
    routed = routing_by_language(*parrot, asked, watchers=[watcher], batch_size=3)
    return watcher.words(), routed


def test_attention_sums_to_1_and_pulls_to_the_logits(parrot, asked):
    words, routed = watch(parrot, asked)
    for language, entries in words.items():
        assert sum(word.attention for word in entries) == pytest.approx(1, abs=1e-5)
        assert sum(word.fair for word in entries) == pytest.approx(1, abs=1e-5)
        logits = torch.tensor(routed[language]).log()
        centred = (logits - logits.mean(dim=1, keepdim=True)).mean(dim=0)
        pulls = torch.tensor([word.pull for word in entries]).sum(dim=0)
        torch.testing.assert_close(pulls, centred, rtol=1e-4, atol=1e-5)


def test_a_words_attention_is_equation_2_over_its_tokens(parrot, asked):
    """Computed from the model's parts: bytes are tokens, and the question's words are known."""
    model, processor = parrot
    words, _ = watch(parrot, asked)
    total = 0.0
    for chat in asked["tr"]:
        batch = processor.encode_conversations(
            [chat.messages], images=[chat.images], add_generation_prompt=True
        )
        ids = batch["input_ids"][0].tolist()
        text = "".join(processor.tokenizer.convert_ids_to_tokens(ids))
        with torch.no_grad():
            visual = model.projector(model.vision_features(batch["pixel_values"]))
            keys = model.get_input_embeddings()(batch["input_ids"][0] % 272)
            scores = (keys @ visual[0, 0]) / keys.shape[1] ** 0.5
        scores[batch["guidance_mask"][0] == 0] = float("-inf")
        weights = scores.softmax(dim=0)
        if "Burada" in text:
            tokens = processor.tokenizer.convert_ids_to_tokens(ids)
            start = next(
                place for place in range(len(ids)) if "".join(tokens[place : place + 6]) == "Burada"
            )
            total += float(weights[start : start + 6].sum())
    (found,) = [word for word in words["tr"] if word.word == "Burada"]
    assert found.attention == pytest.approx(total / len(asked["tr"]), rel=1e-4)
    assert found.images == 2
    assert found.favours == max(range(6), key=found.pull.__getitem__)


def test_words_of_another_language_do_not_turn_up(parrot, asked):
    words, _ = watch(parrot, asked)
    assert {"picture", "shows"} & {word.word for word in words["en"]} == {"picture"}
    assert "nedir" in {word.word for word in words["tr"]}
    assert "picture" not in {word.word for word in words["tr"]}


def test_a_router_that_reads_no_words_is_refused(tiny):
    with pytest.raises(UsageError, match="no words guide"):
        WordWatcher(*tiny.parrot(text_guidance=False))

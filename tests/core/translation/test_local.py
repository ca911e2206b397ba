import asyncio
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import M2M100Config, M2M100ForConditionalGeneration, PreTrainedTokenizerFast

from parrot_core.errors import MissingError, UsageError
from parrot_core.translation.local import LocalWorker, _pieces
from parrot_core.translation.workers import Call


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A random model with NLLB's names of languages and words of one letter."""
    folder = tmp_path_factory.mktemp("model")
    words = ["<pad>", "</s>", "<unk>", "tur_Latn", "eng_Latn", *"abcdefghijklmnopqrstuvwxyz.▁"]
    backend = Tokenizer(
        models.BPE({word: i for i, word in enumerate(words)}, [], unk_token="<unk>")
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(folder)
    config = M2M100Config(
        vocab_size=len(words),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
        decoder_start_token_id=1,
        max_position_embeddings=256,
    )
    M2M100ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def call(text: str, language: str = "tr") -> Call:
    return Call(
        step="draft",
        backend="local",
        model="m",
        parameters={},
        prompt="p",
        messages=[],
        text=text,
        source_language="en",
        language=language,
    )


def test_texts_are_cut_into_sentences_and_what_stays_and_joined_again():
    text = "One house. Two cars!\n\n- See <image> at https://a.example/x. `code here` ends"
    pieces = _pieces(text)
    assert "".join(part for part, _ in pieces) == text
    assert [part for part, translated in pieces if translated] == [
        "One house.",
        "Two cars!",
        "- See",
        "at",
        "ends",
    ]


def test_a_model_translates_batches_and_never_sees_what_must_stay(model: Path):
    async def run():
        worker = LocalWorker(str(model), beams=1, batch_size=2)
        texts = ["a house", "a house <image> a car", "`x` big"]
        answers = await asyncio.gather(*(worker.answer(call(text), tries=0) for text in texts))
        await worker.close()
        return answers

    house, mixed, code = (answer.text for answer in asyncio.run(run()))
    assert house
    assert mixed.startswith(house + " <image> ")
    assert code.startswith("`x` ")


def test_a_language_that_the_model_does_not_have_is_an_error_for_all_who_wait(model: Path):
    async def run():
        worker = LocalWorker(str(model), beams=1)
        return await asyncio.gather(
            worker.answer(call("a", "ru"), tries=0),
            worker.answer(call("b", "ru"), tries=0),
            return_exceptions=True,
        )

    for error in asyncio.run(run()):
        assert isinstance(error, UsageError)
        assert "ru" in error.problem


def test_what_is_no_model_is_said_in_one_line(tmp_path: Path):
    with pytest.raises(MissingError, match="cannot load a translation model"):
        LocalWorker(str(tmp_path))

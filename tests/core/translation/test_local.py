import asyncio
import json
import shutil
from pathlib import Path

import pytest
import sentencepiece
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    M2M100Tokenizer,
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    NllbTokenizer,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

from parrot_core.errors import MissingError, UsageError
from parrot_core.languages import LANGUAGES
from parrot_core.translation.local import LocalWorker, _mark_of, _pieces
from parrot_core.translation.workers import Call
from tests.translation_server import sentence

TINY = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_position_embeddings": 256,
}
# Opus-MT's tokenizer asks for a package that only evens out punctuation.
pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
MADLAD_NAMES = ["<2tr>", "<2ar>"]
FAMILIES = ("nllb", "m2m-100", "madlad-400", "opus-mt")


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Path:
    """A sentencepiece model of a few words, and MADLAD's names of two languages."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "text").write_text("\n".join(sentence(number) for number in range(200)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"),
        model_prefix=str(folder / "words"),
        vocab_size=120,
        model_type="bpe",
        user_defined_symbols=MADLAD_NAMES,
        minloglevel=2,
        hard_vocab_limit=False,
    )
    return folder / "words.model"


def pieces_of(words: Path) -> list[str]:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(words))
    pieces = [processor.id_to_piece(number) for number in range(processor.get_piece_size())]
    return [piece for piece in pieces if piece not in ("<s>", "</s>", "<unk>", *MADLAD_NAMES)]


def numbered(folder: Path, *pieces: str) -> str:
    path = folder / "numbered.json"
    path.write_text(json.dumps({piece: number for number, piece in enumerate(pieces)}))
    return str(path)


def save_nllb(words: Path, folder: Path) -> None:
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *pieces_of(words)]
    tokenizer = NllbTokenizer(
        vocab={piece: number for number, piece in enumerate(vocabulary)}, merges=[]
    )
    save_m2m(tokenizer, len(tokenizer), folder)


def save_m2m_100(words: Path, folder: Path) -> None:
    vocabulary = numbered(folder, "<s>", "<pad>", "</s>", "<unk>", *pieces_of(words))
    tokenizer = M2M100Tokenizer(vocab_file=vocabulary, spm_file=str(words))
    save_m2m(tokenizer, max(tokenizer.lang_code_to_id.values()) + 1, folder)


def save_m2m(tokenizer, size: int, folder: Path) -> None:
    config = M2M100Config(
        vocab_size=size,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=2,
        **TINY,
    )
    save_talkative(M2M100ForConditionalGeneration(config), tokenizer, folder)


def save_talkative(model, tokenizer, folder: Path) -> None:
    """Saves a random model that never answers with nothing: it has words alone, and no end."""
    tokenizer.save_pretrained(folder)
    model.generation_config.forced_eos_token_id = None
    begins = tokenizer.convert_tokens_to_ids("tur_Latn")  # of NLLB: which it may be told to say
    silent = [number for number in tokenizer.all_special_ids if number != begins]
    model.generation_config.suppress_tokens = silent
    model.save_pretrained(folder)


def save_madlad(words: Path, folder: Path) -> None:
    vocabulary = ["<unk>", "<s>", "</s>", *MADLAD_NAMES, *pieces_of(words)]
    tokenizer = T5Tokenizer(
        vocab=[(piece, -float(number)) for number, piece in enumerate(vocabulary)], extra_ids=0
    )
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=16,
        d_kv=8,
        d_ff=16,
        num_layers=1,
        num_decoder_layers=1,
        num_heads=2,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    save_talkative(T5ForConditionalGeneration(config), tokenizer, folder)


def save_opus(words: Path, folder: Path) -> None:
    marks = (">>est<<", ">>spa<<", ">>tur<<", ">>ara<<")
    vocabulary = ["</s>", "<unk>", *pieces_of(words), *marks, "<pad>"]
    tokenizer = MarianTokenizer(
        source_spm=str(words), target_spm=str(words), vocab=numbered(folder, *vocabulary)
    )
    config = MarianConfig(
        vocab_size=len(vocabulary),
        decoder_vocab_size=len(vocabulary),
        pad_token_id=len(vocabulary) - 1,
        eos_token_id=0,
        decoder_start_token_id=len(vocabulary) - 1,
        **TINY,
    )
    save_talkative(MarianMTModel(config), tokenizer, folder)


SAVE = dict(zip(FAMILIES, (save_nllb, save_m2m_100, save_madlad, save_opus), strict=True))


@pytest.fixture(scope="module")
def model_of(words: Path, tmp_path_factory):
    """Returns the folder of a family's tiny random model with the family's own tokenizer."""
    folders: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in folders:
            folders[family] = tmp_path_factory.mktemp(family)
            SAVE[family](words, folders[family])
        return folders[family]

    return make


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


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_each_family_is_told_the_language(model_of, family: str):
    worker = LocalWorker(str(model_of(family)))
    (text,), options = worker._prepare(["a house"], "en", "tr")
    tokenizer = worker._tokenizer
    if family in ("nllb", "m2m-100"):  # the answer begins with the name of the language
        source, target = {"nllb": ("eng_Latn", "tur_Latn"), "m2m-100": ("en", "__tr__")}[family]
        begins = tokenizer.convert_ids_to_tokens(options["forced_bos_token_id"])
        assert (text, tokenizer.src_lang, begins) == ("a house", source, target)
    else:  # the question does, and the name is one token, not spelled out
        mark, *words = text.split()
        assert (mark, words) == (
            {"madlad-400": "<2tr>", "opus-mt": ">>tur<<"}[family],
            ["a", "house"],
        )
        number = tokenizer.convert_tokens_to_ids(mark)
        assert number != tokenizer.unk_token_id
        assert number in tokenizer(text)["input_ids"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_each_family_never_sees_what_must_stay(model_of, family: str):
    async def run():
        worker = LocalWorker(str(model_of(family)), beams=1, batch_size=2)
        texts = ["a house", "a house <image> a car", "`x` big"]
        answers = await asyncio.gather(*(worker.answer(call(text), tries=0) for text in texts))
        await worker.close()
        return answers

    house, mixed, code = (answer.text for answer in asyncio.run(run()))
    assert house
    assert mixed.startswith(house + " <image> ")
    assert code.startswith("`x` ")


@pytest.mark.parametrize("family", ["madlad-400", "opus-mt"])
def test_a_language_that_the_model_does_not_have_is_an_error_for_all_who_wait(
    model_of, family: str
):
    async def run():
        worker = LocalWorker(str(model_of(family)), beams=1)
        return await asyncio.gather(
            worker.answer(call("a", "ru"), tries=0),
            worker.answer(call("b", "ru"), tries=0),
            return_exceptions=True,
        )

    for error in asyncio.run(run()):
        assert isinstance(error, UsageError)
        assert "ru" in error.problem


@pytest.mark.parametrize(
    ("code", "mark"),
    [
        ("es", ">>spa<<"),  # not Estonian's >>est<<
        ("hi", ">>hin<<"),  # not Hiligaynon's >>hil<<
        ("zh", ">>cmn_Hans<<"),
        ("ar", ">>ara<<"),
        ("pt", ">>pt_BR<<"),
    ],
)
def test_the_mark_of_a_language_is_its_own_and_no_other_that_begins_like_it(code: str, mark: str):
    marks = [">>ara<<", ">>arz<<", ">>cmn_Hans<<", ">>cmn_Hant<<", ">>est<<", ">>hil<<", ">>hin<<"]
    assert _mark_of(LANGUAGES[code], [*marks, ">>pt_BR<<", ">>spa<<"]) == mark


def test_a_model_with_another_models_tokenizer_is_one_line(model_of, tmp_path: Path):
    shutil.copytree(model_of("madlad-400"), tmp_path, dirs_exist_ok=True)
    tokenizer = T5Tokenizer.from_pretrained(tmp_path)
    tokenizer.add_tokens(["house"] + [f"word{number}" for number in range(50)])
    tokenizer.add_tokens(["car"])
    tokenizer.save_pretrained(tmp_path)

    async def run():
        await LocalWorker(str(tmp_path)).answer(call("a car"), tries=0)

    with pytest.raises(MissingError, match="the model cannot translate: index out of range"):
        asyncio.run(run())


def test_what_is_no_model_is_said_in_one_line(tmp_path: Path):
    with pytest.raises(MissingError, match="cannot load a translation model"):
        LocalWorker(str(tmp_path))

import json
import subprocess
import sys
from collections import Counter

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import M2M100Config, M2M100ForConditionalGeneration, PreTrainedTokenizerFast

from parrot_cli.eval.translation import JournalTranslator
from parrot_core.errors import RemoteError, UsageError
from parrot_core.translation.local import LocalWorker
from tests.cli.test_eval import invoke, naming_table
from tests.core.benchmarks.servers import service
from tests.translation_server import TranslationServer

ENGLISH = {"Bu nedir?": "What is this?", "ağaç": "tree", "köpek": "dog", "kuş": "bird", "at": "ox"}


class Translations(TranslationServer):
    """Translates into Turkish word by word, and into English what it knows."""

    def __init__(self, *, refuse_at=None, kill_at=None):
        super().__init__()
        self.refuse_at, self.kill_at, self.process = refuse_at, kill_at, None
        self.texts = Counter()
        self.lost = None

    def special(self, body, headers):
        if self.requests == self.refuse_at:
            return 401, {"error": {"message": "no such key"}}
        system, user = (message["content"] for message in body["messages"][:2])
        self.texts[user] += 1
        if self.requests == self.kill_at:
            self.lost = user
            self.process.kill()
            self.process.wait()
        if "into English" not in system:
            return None
        text = ENGLISH.get(user, "Answer with the letter of the right option.")
        return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}


def options(tmp_path, model_url, translations, **changes):
    table = tmp_path / "emoji_naming_tr.tsv"
    naming_table(table, tuple(ENGLISH)[1:])
    return [
        "--model", "m", "--url", model_url, "--data", str(table), "--output", str(tmp_path / "run"),
        "--answer-by", "text", "--via-translation", "--translation-model", "translator",
        "--translation-url", translations.url, "--batch-size", "1", "--no-charts", "--json",
    ]  # fmt: skip


def test_questions_go_to_english_and_answers_back_and_nothing_is_bought_twice(tmp_path):
    with Translations() as server, service(lambda _: "the green tree") as (url, asked):
        report = json.loads(invoke(*options(tmp_path, url, server)).stdout)
        bought = server.requests
        (tmp_path / "run" / "answers.jsonl").unlink()  # the model is asked again
        again = json.loads(invoke(*options(tmp_path, url, server)).stdout)
    question = asked[0]["body"]["messages"][-1]["content"][-1]["text"]
    assert question.startswith("What is this?")
    assert "A. tree\nB. dog\nC. bird\nD. ox" in question
    assert report["model"] == "m via translator"
    assert report["languages"]["tr"]["value"] == pytest.approx(0.2)  # `bu yeşil ağaç` is always A
    kept = [json.loads(x) for x in (tmp_path / "run/answers.jsonl").read_text("utf-8").splitlines()]
    assert {line["prediction"] for line in kept if "prediction" in line} == {"bu yeşil ağaç"}
    assert set(server.texts.values()) == {1}
    assert server.requests == bought
    assert len(asked) == 10
    assert again["languages"] == report["languages"]


def test_instructions_that_are_english_already_are_not_bought(tmp_path):
    with Translations() as server, service(lambda _: "A") as (url, asked):
        arguments = [*options(tmp_path, url, server), "--prompt-language", "english"]
        invoke(*arguments, "--prompt-style", "parrot")
    question = asked[0]["body"]["messages"][-1]["content"][-1]["text"]
    assert question.endswith("Answer with the option's letter from the given choices directly.")
    assert not any("letter" in text for text in server.texts)


def test_a_killed_run_buys_again_only_what_was_on_the_wire(tmp_path):
    with Translations(kill_at=4) as server, service(lambda _: "the green tree") as (url, _):
        arguments = options(tmp_path, url, server)
        command = [sys.executable, "-c", "from parrot_cli.app import main; main()", "eval"]
        server.process = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL)
        server.process.wait(60)
        assert server.requests == 4
        invoke(*arguments)
    assert {text for text, times in server.texts.items() if times > 1} == {server.lost}


def test_a_refused_key_ends_the_run_and_keeps_what_was_translated(tmp_path):
    with Translations(refuse_at=3) as server, service(lambda _: "A") as (url, asked):
        with pytest.raises(RemoteError, match="401"):
            invoke(*options(tmp_path, url, server))
        assert asked == []
        invoke(*options(tmp_path, url, server))
    assert set(server.texts.values()) == {1}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--via-translation",), "needs a model to ask and a --translation-model"),
        (("--translation-model", "t"), "nothing to translate"),
        (
            ("--via-translation", "--translation-model", "t", "--translation-backend", "x"),
            "no such",
        ),
    ],
)
def test_options_that_make_no_sense_together_are_refused(tmp_path, arguments, problem):
    naming_table(tmp_path / "emoji_naming_tr.tsv")
    with pytest.raises(UsageError, match=problem):
        invoke(
            "--model", "m", "--url", "http://127.0.0.1:9/v1", "--output", tmp_path / "run",
            "--data", tmp_path / "emoji_naming_tr.tsv", *arguments,
        )  # fmt: skip


@pytest.fixture(scope="module")
def local_model(tmp_path_factory):
    """A random NLLB with the names of two languages and words of one letter."""
    folder = tmp_path_factory.mktemp("m2m")
    words = ["<pad>", "</s>", "<unk>", "tur_Latn", "eng_Latn", *"abcdefghijklmnopqrstuvwxyz▁"]
    backend = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, [], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    config = M2M100Config(
        vocab_size=len(words), d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_ffn_dim=16, pad_token_id=0, bos_token_id=1, eos_token_id=1,
        decoder_start_token_id=1, max_position_embeddings=256,
    )  # fmt: skip
    torch.manual_seed(0)  # a model that ends at once would translate nothing
    M2M100ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def test_a_local_model_translates_both_ways_once(local_model, tmp_path, monkeypatch):
    worker = LocalWorker(str(local_model), beams=1)
    with JournalTranslator(worker, tmp_path, model="m2m") as translator:
        there = translator.translate([" kedi ", "42", "kedi"], source="tr", target="en")
        back = translator.translate(["a cat"], source="en", target="tr")
    assert there == [f" {there[2]} ", "42", there[2]]
    assert there[2] != "kedi"
    assert back[0]
    worker = LocalWorker(str(local_model), beams=1)
    monkeypatch.setattr(worker, "answer", None)  # a second question would fail
    with JournalTranslator(worker, tmp_path, model="m2m") as translator:
        assert translator.translate(["kedi"], source="tr", target="en") == there[2:]
        assert translator.translate(["a cat"], source="en", target="tr") == back
        assert translator.spent == "2 answers for $0.0000"


def test_a_local_model_stands_between_the_questions_and_the_model(local_model, tmp_path):
    table = tmp_path / "emoji_naming_tr.tsv"
    naming_table(table)
    with service(lambda _: "B") as (url, asked):
        report = json.loads(
            invoke(
                "--model", "m", "--url", url, "--data", table, "--output", tmp_path / "run",
                "--answer-by", "text", "--via-translation", "--translation-backend", "local",
                "--translation-model", local_model, "--no-charts", "--json",
            ).stdout
        )  # fmt: skip
    text = asked[0]["body"]["messages"][-1]["content"][-1]["text"]
    assert "nedir" not in text
    assert "kedi" not in text
    assert [line[:3] for line in text.split("\n") if line[1:3] == ". "] == [
        "A. ",
        "B. ",
        "C. ",
        "D. ",
    ]
    assert report["model"] == f"m via {local_model}"
    assert report["n"] == 5

import asyncio
import base64
import io
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from PIL import Image

from parrot_core.translation import Limits, Settings, translate
from parrot_core.translation.chat_api import ChatWorker, Endpoint
from parrot_core.translation.costs import IMAGE_SIDE, Price
from parrot_core.translation.journal import Journal
from parrot_core.translation.prompts import load_prompts
from parrot_core.translation.workers import Answer, Call, TransientError
from tests.translation_server import TranslationServer

KEY = "sk-very-secret-0123456789"


def call(text: str = "A red car.", image: Path | None = None) -> Call:
    return Call(
        step="draft",
        backend="openai",
        model="m",
        parameters={},
        prompt="p",
        messages=[
            {"role": "system", "content": "Translate into Turkish."},
            {"role": "user", "content": text},
        ],
        text=text,
        source_language="en",
        language="tr",
        image=image,
    )


def ask(url: str, *questions: Call) -> list[Answer]:
    """Asks one after the other over one worker."""

    async def run() -> list[Answer]:
        prices = {"m": Price(prompt=1, completion=1)}
        worker = ChatWorker(Endpoint(base_url=url, key=KEY), prices=prices)
        try:
            return [await worker.answer(question, tries=0) for question in questions]
        finally:
            await worker.close()

    return asyncio.run(run())


class Fixed(TranslationServer):
    """Answers every question with one payload."""

    payload: dict

    def special(self, body, headers):
        return 200, self.payload


def fixed(content: str, **usage: object) -> TranslationServer:
    server = Fixed()
    server.payload = {"choices": [{"message": {"content": content}}], "usage": usage}
    return server


def test_a_proxy_of_the_environment_is_asked_with_its_password(monkeypatch):
    with TranslationServer(keep_bodies=True) as server:
        port = server.url.rpartition(":")[2].removesuffix("/v1")
        monkeypatch.setenv("http_proxy", f"http://someone:pass%20word@127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        answers = ask("http://model.invalid/v1", call("A red car."), call("A big tree."))
    assert [answer.text for answer in answers] == ["bir kırmızı araba.", "bir büyük ağaç."]
    for headers in server.headers:
        name, _, secret = headers["proxy-authorization"].partition(" ")
        assert (name, base64.b64decode(secret)) == ("Basic", b"someone:pass word")
        assert headers["authorization"] == f"Bearer {KEY}"


def test_a_proxy_that_only_tunnels_never_gets_the_key(monkeypatch):
    async def run() -> bytes:
        asked: list[bytes] = []

        async def refuse(reader, writer) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
            port = proxy.sockets[0].getsockname()[1]
            monkeypatch.setenv("https_proxy", f"http://someone:word@127.0.0.1:{port}")
            worker = ChatWorker(Endpoint(base_url="https://model.invalid/v1", key=KEY))
            with pytest.raises(TransientError, match="invalid broke"):
                await worker.answer(call(), tries=0)
            await worker.close()
        return asked[0]

    asked = asyncio.run(run())
    assert asked.startswith(b"CONNECT model.invalid:443")
    assert b"Proxy-Authorization: Basic" in asked
    assert KEY.encode() not in asked


def test_hosts_that_need_no_proxy_are_asked_directly(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with TranslationServer() as server:
        assert ask(server.url, call())[0].text


def test_half_an_emoji_is_replaced_and_the_answer_kept(tmp_path: Path):
    with fixed("araba \ud83d!") as server:
        [answer] = ask(server.url, call())
    assert answer.text == "araba \ufffd!"
    with Journal(tmp_path / "journal.sqlite") as journal:
        asyncio.run(journal.add_answer(call(), answer))
        assert journal.answer(call().key()) == answer


@pytest.mark.parametrize("count", [-1, 10**30, "many", None])
def test_counts_of_tokens_that_cannot_be_true_are_estimated_instead(count: object):
    with fixed("araba", prompt_tokens=count, completion_tokens=7) as server:
        [answer] = ask(server.url, call())
    assert 0 < answer.prompt_tokens < 100
    assert answer.completion_tokens == 7


def test_a_value_that_the_journal_cannot_hold_is_an_error_for_whoever_waits(tmp_path: Path):
    from parrot_core.errors import ParrotError

    async def run(journal: Journal) -> None:
        with pytest.raises(ParrotError, match="cannot write the journal"):
            await journal.add_answer(call(), Answer(text="a", prompt_tokens=10**30))
        await journal.add_answer(call(), Answer(text="b"))

    with Journal(tmp_path / "journal.sqlite") as journal:
        asyncio.run(asyncio.wait_for(run(journal), 10))
        assert journal.answer(call().key()) == Answer(text="b")


def test_the_picture_goes_with_the_question_no_larger_than_it_may_be(tmp_path: Path):
    Image.new("RGB", (3000, 1500), (200, 30, 30)).save(tmp_path / "a.png")
    turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "42"}]
    source = tmp_path / "in.json"
    source.write_text(json.dumps([{"id": "1", "image": "a.png", "conversations": turns}]))
    with TranslationServer(keep_bodies=True) as server:
        report = translate(
            source,
            tmp_path / "out",
            languages=["tr"],
            worker=ChatWorker(Endpoint(base_url=server.url)),
            settings=Settings(prompts=load_prompts(), model="m"),
            limits=Limits(),
            image_root=tmp_path,
        )
    assert report.complete
    assert server.requests == len(server.bodies) == 6
    for body in server.bodies:  # every step sees it
        text, picture = body["messages"][1]["content"]
        assert (text["type"], picture["type"]) == ("text", "image_url")
        kind, _, data = picture["image_url"]["url"].partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert (image.format, image.size) == ("JPEG", (IMAGE_SIDE, IMAGE_SIDE // 2))
            red, green, _ = image.getpixel((100, 100))
            assert red > 150 > green


@pytest.mark.parametrize("payload", [{"error": {"message": f"overloaded {KEY}"}}, {"choices": []}])
def test_what_is_no_completion_is_said_without_the_key(payload: dict):
    server = Fixed()
    server.payload = payload
    words = r"no chat completion: (overloaded \[key\]|\{\"choices\": \[\]\})"
    with server, pytest.raises(TransientError, match=words) as caught:
        ask(server.url, call())
    assert caught.value.lost
    assert KEY not in str(caught.value)


def test_what_is_no_http_is_reported_without_the_key():
    async def run() -> str:
        async def garble(reader, writer) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"NO HTTP: " + b" ".join(head.split(b"\r\n")) + b"\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(garble, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            worker = ChatWorker(Endpoint(base_url=url, key=KEY))
            with pytest.raises(TransientError, match="broke: ClientResponseError") as caught:
                await worker.answer(call(), tries=0)
            await worker.close()
        return "".join(traceback.format_exception(caught.value))

    shown = asyncio.run(run())
    assert KEY not in shown


PROGRAM = "from parrot_cli.app import main; main()"


class Gossip(TranslationServer):
    """A service that repeats the key in whatever it says."""

    status: int = 401

    def special(self, body, headers):
        said = f"Incorrect key: {headers['authorization'].removeprefix('Bearer ')}"
        error = {"error": {"message": said, "code": said}}
        elsewhere = "http://127.0.0.1:9/v1/chat/completions"
        return self.status, error, {"Retry-After": "0.01", "X-Key": said, "Location": elsewhere}


def gossip(status: int) -> TranslationServer:
    server = Gossip()
    server.status = status
    return server


@pytest.mark.parametrize(
    ("server", "code"),
    [
        (lambda: gossip(302), 4),
        (lambda: gossip(401), 4),
        (lambda: gossip(400), 4),
        (lambda: gossip(500), 4),
        (lambda: TranslationServer(faults={"500": 0.2, "cut": 0.2, "refusal": 0.1}), 0),
    ],
    ids=["302", "401", "400", "500", "faults"],
)
def test_the_key_is_in_nothing_that_the_program_says_or_leaves(tmp_path: Path, server, code: int):
    turns = [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "A big car."}]
    source = tmp_path / "in.json"
    source.write_text(json.dumps([{"id": "1", "conversations": turns}]))
    with server() as running:
        arguments = ["--debug", "--verbose", "data", "translate", source, "--to", "tr"]
        arguments += ["--out", tmp_path / "out", "--base-url", running.url, "--model", "m"]
        process = subprocess.run(
            [sys.executable, "-c", PROGRAM, *map(str, arguments)],
            env=os.environ | {"OPENAI_API_KEY": KEY, "PYTHONASYNCIODEBUG": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert running.requests > 0
    # With --debug an error is a traceback, and Python's own exit code.
    assert process.returncode == (1 if code else 0), process.stderr
    assert ("Traceback" in process.stderr) == bool(code)
    assert KEY not in process.stdout + process.stderr
    for path in (tmp_path / "out").iterdir():
        assert KEY.encode() not in path.read_bytes()

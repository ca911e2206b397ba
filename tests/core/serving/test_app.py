"""The web application as its clients meet it: a real server, real sockets, a tiny model."""

import json
import socket
import threading
import time

import openai
import pytest
import torch

from parrot_core.data.remote_images import FetchLimits
from parrot_core.generation import answer, ask
from parrot_core.languages import LANGUAGES
from tests.core.serving.conftest import NAME, call, chat, data_url, running


def test_an_answer_is_the_models_own_with_its_routing_and_counts(server, parrot, tiny):
    picture = tiny.image(1)
    (expected,) = answer(*parrot, [ask("What?", images=[picture])], max_new_tokens=9)
    status, reply = chat(server, "What?", picture, max_tokens=9)
    assert status == 200
    (choice,) = reply["choices"]
    assert choice["message"]["content"] == expected.text
    assert choice["finish_reason"] in ("stop", "length")
    assert reply["parrot"]["routing"][0] == pytest.approx(expected.routing[0], abs=1e-5)
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < usage["completion_tokens"] <= 9


def test_simultaneous_requests_each_get_the_answer_to_their_own_picture(server, parrot, tiny):
    pictures = [tiny.image(number) for number in range(12)]
    expected = [
        answer(*parrot, [ask("What is it?", images=[one])], max_new_tokens=8)[0].text
        for one in pictures
    ]
    assert len(set(expected)) > 6
    found: dict[int, str] = {}

    def one(number):
        status, reply = chat(server, "What is it?", pictures[number], max_tokens=8)
        found[number] = reply["choices"][0]["message"]["content"] if status == 200 else str(reply)

    threads = [threading.Thread(target=one, args=[number]) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(12)] == expected


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.base}/v1", api_key="none", max_retries=0) as client:
        yield client


def shown(picture, question="What?"):
    parts = [
        {"type": "text", "text": question},
        {"type": "image_url", "image_url": {"url": data_url(picture)}},
    ]
    return [{"role": "user", "content": parts}]


def test_the_official_client_streams_what_it_gets_at_once(client, tiny):
    asked = {"model": NAME, "messages": shown(tiny.image(2)), "max_tokens": 12}
    whole = client.chat.completions.create(**asked)
    with client.chat.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len([piece for piece in pieces if piece]) > 1
    assert chunks[0].model_extra["parrot"]["routing"] == whole.model_extra["parrot"]["routing"]
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert [model.id for model in client.models.list()] == [NAME]


def test_what_was_said_before_and_the_wanted_language_reach_the_model(server, parrot, tiny):
    picture = tiny.image(3)
    history = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "<image>\nWhat is in this picture?"},
        {"role": "assistant", "content": "A cat."},
    ]
    asked = ask("What colour does the animal have?", language="tr", history=history)
    conversation = type(asked)(messages=asked.messages, images=(picture,))
    (expected,) = answer(*parrot, [conversation], max_new_tokens=6)
    messages = [
        {"role": "developer", "content": "Be brief."},
        *shown(picture, "What is in this picture?"),
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "What colour does the animal have?"},
    ]
    body = {"model": NAME, "messages": messages, "max_tokens": 6, "parrot": {"language": "tr"}}
    status, reply = call(server, "/v1/chat/completions", body)
    assert status == 200
    assert reply["choices"][0]["message"]["content"] == expected.text
    assert reply["parrot"]["language"] == "tr"


def test_rows_of_one_batch_have_settings_of_their_own(server, tiny):
    picture = tiny.image(4)

    def text(**more):
        status, reply = chat(server, "What?", picture, **more)
        assert status == 200, reply
        return reply["choices"][0]["message"]["content"]

    warm = {"max_tokens": 12, "temperature": 1.0}
    assert text(**warm, seed=1) == text(**warm, seed=1)
    assert len({text(**warm, seed=seed) for seed in range(4)}) > 1
    greedy = text(max_tokens=12)
    # A probability beyond the most probable token is never reached.
    assert text(**warm, top_p=1e-6) == greedy
    stop = greedy[2:4]
    assert text(max_tokens=12, stop=[stop]) == greedy[: greedy.index(stop)].rstrip()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"[]", 400, "invalid_value"),
        ({"model": NAME}, 400, "invalid_value"),
        ({"model": NAME, "messages": [{"role": "tool", "content": "x"}]}, 400, "invalid_value"),
        ({"model": "gpt", "messages": [{"role": "user", "content": "x"}]}, 404, "model_not_found"),
        ({"temperature": -1}, 400, "invalid_value"),
        ({"n": 2}, 400, "unsupported_parameter"),
        ({"tools": [{"type": "function"}]}, 400, "unsupported_parameter"),
        ({"stop": ["a", "b", "c", "d", "e"]}, 400, "invalid_value"),
        ({"stop": 3}, 400, "invalid_value"),
        ({"parrot": {"language": "turkisch"}}, 400, "unknown_language"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "invalid_value"),
        ({"messages": [{"role": "user", "content": "<image>"}]}, 400, "invalid_value"),
        ({"messages": [{"role": "user", "content": "long " * 600}]}, 400, "invalid_request"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_requests_are_refused_by_name(server, body, status, code):
    if isinstance(body, dict) and not ("model" in body and len(body) <= 2):
        body = {"model": NAME, "messages": [{"role": "user", "content": "Hi"}], **body}
    found, document = call(server, "/v1/chat/completions", body)
    assert found == status
    assert document["error"]["code"] == code
    assert document["error"]["message"]
    assert call(server, "/health")[1]["requests"] == 0


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "image_url", "image_url": "data:image/png;base64,"}, "0.image_url.image_url"),
        ({"type": "image_url"}, "0.image_url.image_url"),
        ({"type": "input_audio"}, "0"),
        ({"type": "text", "text": 3}, "0.text.text"),
    ],
)
def test_a_broken_part_of_a_message_is_named(server, part, param):
    body = {"model": NAME, "messages": [{"role": "user", "content": [part]}]}
    status, document = call(server, "/v1/chat/completions", body)
    assert status == 400
    assert document["error"]["param"] == f"messages.0.content.{param}"


def test_base64_may_be_broken_into_lines(server, tiny):
    import base64

    head, data = data_url(tiny.image(5)).split(",")
    lines = base64.encodebytes(base64.b64decode(data)).decode()
    parts = [{"type": "image_url", "image_url": {"url": f"{head},{lines}"}}]
    body = {"model": NAME, "messages": [{"role": "user", "content": parts}], "max_tokens": 2}
    assert call(server, "/v1/chat/completions", body)[0] == 200


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("data:image/png;base64,####", "invalid_image_url"),
        ("data:text/plain;base64,aGk=", "invalid_image_url"),
        ("data:image/png;base64,aGk=", "invalid_image"),
        ("file:///etc/passwd", "invalid_image_url"),
        ("http://127.0.0.1:1/a.png", "invalid_image_url"),
        ("http://[::ffff:169.254.169.254]/a.png", "invalid_image_url"),
    ],
)
def test_bad_pictures_are_refused_by_name(server, url, code):
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What?"}]
    body = {"model": NAME, "messages": [{"role": "user", "content": parts}]}
    status, document = call(server, "/v1/chat/completions", body)
    assert (status, document["error"]["code"]) == (400, code)


def test_settings_that_ask_for_nothing_are_taken(server):
    neutral = {"n": 1, "frequency_penalty": 0.0, "tools": [], "user": "me", "logprobs": False}
    assert chat(server, "Hi", max_tokens=1, **neutral)[0] == 200


def test_a_request_that_is_too_large_can_read_why(parrot, tiny):
    with running(parrot, body_bytes=100_000) as small:
        body = {"model": NAME, "messages": [{"role": "user", "content": "x" * 50_000_000}]}
        status, document = call(small, "/v1/chat/completions", body)
        assert (status, document["error"]["code"]) == (413, "request_too_large")
        assert chat(small, "What?", tiny.image(0), max_tokens=2)[0] == 200


def test_a_key_is_asked_for_and_other_names_of_the_server_are_refused(parrot):
    with running(parrot, key="geheim", hosts=None) as guarded:
        for headers in ({}, {"Authorization": "Bearer falsch"}, {"Authorization": "geheim"}):
            status, document = chat(guarded, "Hi", headers=headers)
            assert (status, document["error"]["code"]) == (401, "invalid_api_key")
            assert call(guarded, "/v1/models", **headers)[0] == 401
        right = {"Authorization": "Bearer geheim"}
        assert chat(guarded, "Hi", max_tokens=1, headers=right)[0] == 200
        assert call(guarded, "/health")[0] == 200


def test_a_key_may_have_letters_of_any_script(parrot):
    key = "clé-ключ"
    with running(parrot, key=key, hosts=None) as guarded:
        sent = f"Bearer {key}".encode().decode("latin-1")  # as clients put UTF-8 into a header
        assert call(guarded, "/v1/models", Authorization=sent)[0] == 200
        assert call(guarded, "/v1/models", Authorization=sent[:-1])[0] == 401


def test_the_models_entry_says_what_the_page_needs(server):
    status, models = call(server, "/v1/models")
    assert status == 200
    (model,) = models["data"]
    languages = {row["code"]: row for row in model["parrot"]["languages"]}
    assert set(languages) == set(LANGUAGES)
    assert languages["ar"]["right_to_left"]
    assert "Bu nedir?" in languages["tr"]["questions"]
    assert call(server, f"/v1/models/{NAME}")[1] == model


def test_another_sites_page_cannot_ask(server):
    assert call(server, "/v1/models", Host="rebound.example")[0] == 421
    assert chat(server, "Hi", headers={"Content-Type": "text/plain"})[0] == 415


def test_who_comes_when_all_places_are_taken_is_told_to_come_again(parrot):
    with running(parrot, batch_size=1, most_waiting=0) as narrow:
        first = threading.Thread(target=chat, args=[narrow, "Hi"], kwargs={"max_tokens": 400})
        first.start()
        while narrow.engine.admitted == 0:
            time.sleep(0.005)
        status, document = chat(narrow, "Hi", max_tokens=1)
        assert (status, document["error"]["code"]) == (503, "overloaded")
        first.join()
        assert chat(narrow, "Hi", max_tokens=1)[0] == 200


def test_a_request_that_takes_too_long_is_ended(parrot):
    with running(parrot, seconds=0.05) as hasty:
        status, document = chat(hasty, "Hi", max_tokens=400)
        assert (status, document["error"]["code"]) == (504, "timeout")


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_stops_its_answer(parrot, stream):
    with running(parrot) as server:
        body = {"model": NAME, "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
        data = json.dumps({**body, "max_tokens": 480, "temperature": 3}).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        seen = []
        work = server.engine.submit
        server.engine.submit = lambda ticket: (seen.append(ticket), work(ticket))
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(head.encode() + data)
            while not seen or not seen[0].ids:
                time.sleep(0.002)
        deadline = time.monotonic() + 20
        while server.engine.admitted and time.monotonic() < deadline:
            time.sleep(0.005)
        assert seen[0].ended == "cancelled"
        assert len(seen[0].ids) < 480
        assert chat(server, "Hi", max_tokens=1)[0] == 200


def test_a_failing_model_is_an_error_of_the_server_and_the_next_request_is_answered(
    parrot, monkeypatch
):
    with running(parrot) as server:
        kind = type(parrot[0])
        generate = kind.generate

        def fail(*args, **kwargs):
            raise RuntimeError("out of memory at 0x1234")

        monkeypatch.setattr(kind, "generate", fail)
        status, document = chat(server, "Hi")
        assert (status, document["error"]["code"]) == (500, "server_error")
        assert "0x1234" not in str(document)
        monkeypatch.setattr(kind, "generate", generate)
        assert chat(server, "Hi", max_tokens=1)[0] == 200


def test_a_full_gpu_is_told_and_the_next_request_is_answered(parrot, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, 24_000_000_000))
    with running(parrot) as server, monkeypatch.context() as patch:
        patch.setattr(type(parrot[0]), "generate", _no_memory)
        status, document = chat(server, "Hi")
        assert (status, document["error"]["code"]) == (503, "gpu_full")
        assert "24 GB, 0.0 of them free" in document["error"]["message"]
        patch.undo()
        assert chat(server, "Hi", max_tokens=1)[0] == 200


def _no_memory(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_pictures_are_fetched_where_private_addresses_are_allowed(parrot, tiny, picture_server):
    with running(parrot, fetch=FetchLimits(private_networks=True)) as server:
        address = {"type": "image_url", "image_url": {"url": picture_server.url("/a.png")}}
        message = {"role": "user", "content": [address, {"type": "text", "text": "What?"}]}
        body = {"model": NAME, "messages": [message], "max_tokens": 6}
        status, reply = call(server, "/v1/chat/completions", body)
        assert status == 200
        _, same = chat(server, "What?", picture_server.picture, max_tokens=6)
        assert reply["choices"] == same["choices"]


def test_the_page_brings_nothing_from_elsewhere(server):
    import urllib.request

    for path in ("/", "/page.css", "/page.js"):
        with urllib.request.urlopen(server.base + path) as reply:
            text = reply.read().decode()
            assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        addresses = [word for word in text.split('"') if "://" in word]
        assert addresses in ([], ["http://www.w3.org/2000/svg"]), path

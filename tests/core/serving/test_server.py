"""The server as a process: many connections, and its end."""

import contextlib
import json
import signal
import socket
import time

import pytest

from parrot_core.serving import server as server_module
from tests.core.serving.conftest import NAME, chat, running


def test_idle_connections_keep_nobody_out(parrot):
    with running(parrot, batch_size=1, most_waiting=0) as server, contextlib.ExitStack() as open_:
        for _ in range(200):
            open_.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        assert chat(server, "Hi", max_tokens=1)[0] == 200


@pytest.mark.parametrize("stream", [False, True])
def test_whoever_is_being_answered_is_told_when_the_server_stops(parrot, stream, monkeypatch):
    monkeypatch.setattr(parrot[0].generation_config, "eos_token_id", None)  # a long answer
    with running(parrot) as server:
        body = {"model": NAME, "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
        data = json.dumps({**body, "max_tokens": 480}).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(head.encode() + data)
            while server.engine.admitted == 0:
                time.sleep(0.002)
            stopped = time.monotonic()
            server.stop(signal.SIGINT, None)
            reply = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
        assert time.monotonic() - stopped < 4  # it is not waited for until it is cut off
        assert "the server stops" in reply
        assert reply.startswith("HTTP/1.1 200" if stream else "HTTP/1.1 503")
        assert ("data: [DONE]" in reply) == stream
        assert server.engine.admitted == 0


def test_what_is_cut_off_when_the_server_stops_is_no_failure_in_its_log(parrot, monkeypatch, capfd):
    monkeypatch.setattr(server_module, "_LAST_WORDS_SECONDS", 1)
    half = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    half += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with contextlib.ExitStack() as open_, running(parrot, log_level="warning") as server:
        connection = socket.create_connection(("127.0.0.1", server.port))
        open_.enter_context(connection)
        connection.sendall(half.encode())
        while server.engine.admitted == 0:
            time.sleep(0.002)
    said = capfd.readouterr().err
    assert "Cancel 1 running task" in said
    assert "Traceback" not in said

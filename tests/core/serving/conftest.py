"""A running server with a tiny model, on a free port of the loopback interface."""

import base64
import contextlib
import io
import json
import socket
import threading
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest

from parrot_core.serving.app import ServingSettings, make_app
from parrot_core.serving.engine import Engine
from parrot_core.serving.server import Server

NAME = "tiny"


def data_url(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@contextlib.contextmanager
def running(parts, *, batch_size=8, most_waiting=32, log_level="critical", **settings):
    """Runs the application as `parrot serve` does, in a thread."""
    engine = Engine(parts, batch_size=batch_size, most_waiting=most_waiting)
    app = make_app(engine, ServingSettings(name=NAME, **{"experts": (None, "Turkish"), **settings}))
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(app, engine, log_level=log_level)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        yield SimpleNamespace(
            base=base, port=listening.getsockname()[1], engine=engine, stop=server.handle_exit
        )
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        listening.close()
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def server(parrot):
    with running(parrot) as server:
        yield server


def call(server, path, body=None, **headers):
    """Sends a request; returns the status and the document that comes back."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(server.base + path, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def chat(server, question, *pictures, **more):
    """Asks for an answer; returns the status and the document."""
    headers = more.pop("headers", {})
    parts = [{"type": "image_url", "image_url": {"url": data_url(one)}} for one in pictures]
    content = [*parts, {"type": "text", "text": question}]
    body = {"model": NAME, "messages": [{"role": "user", "content": content}], **more}
    return call(server, "/v1/chat/completions", body, **headers)

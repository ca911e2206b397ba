"""`parrot serve` under load: `python tests/benchmarks/serving.py --seconds 60`.

A server in a process of its own, and clients that each ask about a picture of their own, over and
over, while others misbehave: no key, broken JSON, an unknown model, a picture of 50 MB, a client
that hangs up. Every answer is compared with the one that the same model gives to that picture
alone. Throughput is a ratio: all clients at once against one after the other.
"""

import argparse
import asyncio
import base64
import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import aiohttp  # noqa: E402 - after the path is set
import psutil  # noqa: E402

# A dependency installs a package `tests` of its own, which would be found before ours.
sys.modules["tests"] = ours = types.ModuleType("tests")
ours.__path__ = [str(ROOT / "tests")]

from parrot_core.data.images import open_image  # noqa: E402
from parrot_core.generation import Conversation, answer, ask, load_for_use  # noqa: E402
from tests.conftest import noise_image, tiny_parrot  # noqa: E402

KEY = "benchmark"
HEADERS = {"Authorization": f"Bearer {KEY}"}
QUESTION = "What is in this picture?"
CODE = "from parrot_cli.app import main; main()"


@dataclass
class Load:
    """What came of the requests."""

    right: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    refused: Counter = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)


def body(picture: bytes, model: str, tokens: int, *, stream: bool) -> dict:
    """A request about a picture."""
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    content = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": QUESTION},
    ]
    messages = [{"role": "user", "content": content}]
    return {"model": model, "messages": messages, "max_tokens": tokens, "stream": stream}


async def ask_server(session, base: str, request: dict) -> str:
    """Returns the answer to a request, streamed or not."""
    import json

    async with session.post(f"{base}/v1/chat/completions", json=request) as reply:
        if reply.status != 200:
            return f"status {reply.status}: {await reply.text()}"
        if not request["stream"]:
            return (await reply.json())["choices"][0]["message"]["content"]
        text = ""
        async for line in reply.content:
            data = line.decode().removeprefix("data: ").strip()
            if data and data != "[DONE]":
                for choice in json.loads(data)["choices"]:
                    text += choice["delta"].get("content", "")
        return text


async def client(number, base, requests, expected, load, until) -> None:
    """Asks about one picture until the time is over; every other answer is streamed."""
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        turn = number
        while time.monotonic() < until:
            turn += 1
            begin = time.monotonic()
            found = await ask_server(session, base, requests[number][turn % 2])
            load.seconds.append(time.monotonic() - begin)
            if found == expected[number]:
                load.right[number] += 1
            else:
                load.wrong.append(f"client {number}: {found!r}, not {expected[number]!r}")


async def misbehave(base, request, load, until) -> None:
    """Sends what a server must refuse, and hangs up in the midst of answers."""
    url = f"{base}/v1/chat/completions"
    large = {"model": request["model"], "messages": [{"role": "user", "content": "x" * 52_000_000}]}
    async with aiohttp.ClientSession() as session:
        cases = {
            "no key, 401": ({"json": request}, 401),
            "broken JSON, 400": ({"data": b"{", "headers": {**HEADERS, **JSON}}, 400),
            "unknown model, 404": ({"json": {**request, "model": "x"}, "headers": HEADERS}, 404),
            "50 MB, 413": ({"json": large, "headers": HEADERS}, 413),
        }
        while time.monotonic() < until:
            for name, (options, status) in cases.items():
                async with session.post(url, **options) as reply:
                    if reply.status != status:
                        load.wrong.append(f"{name}: status {reply.status}")
                    load.refused[name] += 1
            try:
                streamed = {**request, "stream": True, "max_tokens": 400}
                timeout = aiohttp.ClientTimeout(total=0.3)
                async with session.post(
                    url, json=streamed, headers=HEADERS, timeout=timeout
                ) as reply:
                    await reply.content.readline()
                    reply.close()
            except TimeoutError:
                pass
            load.refused["hung up"] += 1
            await asyncio.sleep(1)


JSON = {"Content-Type": "application/json"}


async def watch(process, load, begin, until) -> None:
    """Notes the memory of the server."""
    while time.monotonic() < until:
        load.memory.append((time.monotonic() - begin, process.memory_info().rss / 2**20))
        await asyncio.sleep(0.5)


async def run_load(base, process, requests, expected, seconds) -> Load:
    """All clients at once, and one that misbehaves."""
    load = Load()
    begin = time.monotonic()
    until = begin + seconds
    await asyncio.gather(
        *(client(n, base, requests, expected, load, until) for n in range(len(requests))),
        misbehave(base, requests[0][0], load, until),
        watch(process, load, begin, until),
    )
    return load


async def run_alone(base, requests, expected, seconds) -> float:
    """One client, one request after the other; returns answers a second."""
    done = 0
    begin = time.monotonic()
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        while time.monotonic() - begin < seconds:
            number = done % len(requests)
            found = await ask_server(session, base, requests[number][done % 2])
            if found != expected[number]:
                raise SystemExit(f"alone: {found!r}, not {expected[number]!r}")
            done += 1
    return done / (time.monotonic() - begin)


def start(model: Path, port: int) -> subprocess.Popen:
    """Starts the server."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PARROT_API_KEY": KEY}
    options = ["--model", str(model), "--name", "m", "--port", str(port), "--batch-size", "32"]
    return subprocess.Popen([sys.executable, "-c", CODE, "serve", *options], env=environment)


def free_port() -> int:
    """Returns a port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


async def ready(base: str) -> None:
    """Waits until the server answers."""
    async with aiohttp.ClientSession() as session:
        for _ in range(600):
            try:
                async with session.get(f"{base}/health") as reply:
                    if reply.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.5)
    raise SystemExit("the server does not answer")


def pictures_of(folder: Path | None, count: int) -> list[bytes]:
    """So many different pictures: those of a folder, or noise."""
    if folder is not None:
        return [path.read_bytes() for path in sorted(folder.glob("*.png"))[:count]]
    files = []
    for number in range(count):
        buffer = io.BytesIO()
        noise_image(number, (160, 120)).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return files


def main() -> None:
    """Measures and prints; exits with 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=24, help="longest answer")
    parser.add_argument("--model", type=Path, help="a checkpoint; a tiny random one by default")
    parser.add_argument("--pictures", type=Path, help="a folder of PNG files; noise by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        model = options.model
        if model is None:
            model = Path(name)
            for part in tiny_parrot():
                part.save_pretrained(model)
        files = pictures_of(options.pictures, options.clients)
        parts = load_for_use(model, device="cpu")
        expected = [alone(parts, one, options.tokens) for one in files]
        requests = [
            [body(one, "m", options.tokens, stream=stream) for stream in (False, True)]
            for one in files
        ]
        port = free_port()
        base = f"http://127.0.0.1:{port}"
        server = start(model, port)
        try:
            asyncio.run(ready(base))
            process = psutil.Process(server.pid)
            asyncio.run(run_alone(base, requests, expected, 3))  # warms caches
            single = asyncio.run(run_alone(base, requests, expected, options.seconds / 3))
            load = asyncio.run(run_load(base, process, requests, expected, options.seconds))
            alive = server.poll() is None
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=60)
    report(load, single, options, different=len(set(expected)), alive=alive)


def alone(parts, picture: bytes, tokens: int) -> str:
    """The answer of the model itself to one picture."""
    image = open_image(picture)
    asked = ask(QUESTION, images=[image])
    conversation = Conversation(messages=asked.messages, images=(image,))
    return answer(*parts, [conversation], max_new_tokens=tokens)[0].text


def report(load: Load, single: float, options, *, different: int, alive: bool) -> None:
    """Prints what was measured."""
    out = sys.stdout.write
    right = sum(load.right.values())
    rate = right / options.seconds
    out(
        f"{options.clients} clients, {options.seconds:.0f} s: {right} answers, each to its own "
        f"picture ({different} different answers), {len(load.wrong)} wrong or failed\n"
    )
    for problem in load.wrong[:5]:
        out(f"  {problem}\n")
    out(f"  fewest answers of a client {min(load.right.values(), default=0)}, ")
    out(f"most {max(load.right.values(), default=0)}\n")
    out(f"throughput: {rate / single:.1f} × that of one request after the other\n")
    out("refused meanwhile: " + ", ".join(f"{n} × {k}" for k, n in load.refused.items()) + "\n")
    quarter = options.seconds / 4
    early = [size for at, size in load.memory if quarter <= at < 2 * quarter]
    late = [size for at, size in load.memory if at >= 3 * quarter]
    out(
        f"memory of the server: {max(early):.0f} MiB at most in the second quarter, "
        f"{max(late):.0f} in the last ({max(late) / max(early) - 1:+.1%})\n"
    )
    out(f"the server {'goes on' if alive else 'has died'}\n")
    sys.exit(bool(load.wrong) or not alive)


if __name__ == "__main__":
    main()

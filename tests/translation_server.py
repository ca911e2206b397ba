"""A chat-completions server on the loopback interface that translates word by word and misbehaves.

It answers every step of the pipeline as a function of the request alone, so that what a job ends
with does not depend on the faults; which requests get a fault is drawn.
"""

import asyncio
import hashlib
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

WORDS = {
    "the": ("bu", "هذا"),
    "a": ("bir", "واحد"),
    "picture": ("resim", "صورة"),
    "shows": ("gösteriyor", "تظهر"),
    "red": ("kırmızı", "أحمر"),
    "green": ("yeşil", "أخضر"),
    "car": ("araba", "سيارة"),
    "house": ("ev", "بيت"),
    "tree": ("ağaç", "شجرة"),
    "big": ("büyük", "كبير"),
    "small": ("küçük", "صغير"),
    "beside": ("yanında", "بجانب"),
    "under": ("altında", "تحت"),
    "child": ("çocuk", "طفل"),
    "plays": ("oynuyor", "يلعب"),
    "happily": ("mutlulukla", "بسعادة"),
    "today": ("bugün", "اليوم"),
    "what": ("ne", "ماذا"),
    "is": ("şudur", "يكون"),
    "in": ("içinde", "في"),
    "garden": ("bahçe", "حديقة"),
    "and": ("ve", "و"),
}
WORDS_OF_QUESTIONS = {
    "right": ("doğru", "الصحيح"),
    "answer": ("cevap", "الجواب"),
    "to": ("için", "على"),
    "this": ("şu", "ذلك"),
    "question": ("soru", "السؤال"),
}
LANGUAGES = {"Turkish": 0, "Arabic": 1}
FAULTS = (
    "429",
    "500",
    "hang",
    "cut",
    "malformed",
    "truncated",
    "empty",
    "refusal",
    "lost-placeholder",
    "wrong-language",
)
_TOKEN = re.compile(r"[A-Za-z]+|[^A-Za-z]+")
_KEPT = re.compile(r"<image>|https?://\S+|`[^`]*`")


def sentence(number: int) -> str:
    """An English sentence that no other number has, some with things that must stay."""
    chance = random.Random(number)
    words = " ".join(chance.choice(list(WORDS)) for _ in range(chance.randint(6, 14)))
    extra = (f" <image> {number}", "", f" `x{number}`", f" https://a.example/{number}")[number % 4]
    return f"{words.capitalize()} {number}{extra}."


def translation(text: str, language: str) -> str:
    column = LANGUAGES[language]
    done, at = [], 0
    for kept in [*_KEPT.finditer(text), None]:
        for token in _TOKEN.findall(text[at : kept.start() if kept else len(text)]):
            pair = (WORDS | WORDS_OF_QUESTIONS).get(token.lower())
            done.append(pair[column] if pair else token)
        if kept:
            done.append(kept[0])
            at = kept.end()
    return "".join(done)


def section(text: str, title: str) -> str:
    match = re.search(rf"### {title}[^\n]*\n(.*?)(?=\n\n### |\Z)", text, re.DOTALL)
    assert match is not None
    return match[1]


def reply(body: Mapping) -> tuple[str, str]:
    """Returns step and answer of a request, without faults."""
    system, user = (body["messages"][index]["content"] for index in (0, 1))
    if isinstance(user, list):
        user = user[0]["text"]
    language = re.search(r"into (\w+)", system) or re.search(r"of (\w+)\. The user", system)
    language = language[1] if language else ""
    if "### Version 1" in user:
        versions = re.findall(r"### Version \d+\n(.*?)(?=\n\n### |\Z)", user, re.DOTALL)
        return "vote", str(versions.index(min(versions)) + 1)
    if "### Draft" in user:
        return "recheck", section(user, "Draft")
    if "### Translation" in user:
        text = section(user, "Translation")
        word = "güzel" if any(sign in text for sign in "ışğüöçbd") else "جميل"
        return "refine", text.removesuffix(".") + f" {word}" * (body.get("seed", 1) - 1) + "."
    return "draft", translation(user, language)


@dataclass
class TranslationServer:
    """Runs in a thread while it is a context; `url` is what `--base-url` takes."""

    latency: float = 0.0
    faults: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    hang_seconds: float = 5.0
    retry_after: str = "0.05"
    url: str = ""
    requests: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    answered: Counter = field(default_factory=Counter)
    by_step: Counter = field(default_factory=Counter)
    injected: Counter = field(default_factory=Counter)
    headers: list[dict] = field(default_factory=list)
    bodies: list[dict] = field(default_factory=list)
    keep_bodies: bool = False

    def __enter__(self):
        self._chance = random.Random(self.seed)
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(ready))
        self._loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        ready.set()
        await self._stop.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self, reader, writer) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.strip().split("\r\n")
                headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if not await self._answer(first.split(" ")[1], headers, body, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if task.cancelled() else writer.close()

    async def _answer(self, path: str, headers: dict, content: bytes, writer) -> bool:
        """Answers one request; False if the connection is to be closed."""
        self.requests += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            body = json.loads(content)
            if self.keep_bodies:
                self.headers.append(headers)
                self.bodies.append(body)
            await asyncio.sleep(self.latency)
            if not path.endswith("/v1/chat/completions"):  # a proxy is asked for whole URLs
                return self._send(writer, 404, {"error": {"message": "no such path"}})
            return await self._misbehave_or_answer(body, headers, writer)
        finally:
            self.in_flight -= 1

    def special(
        self, body: dict, headers: dict
    ) -> tuple[int, dict] | tuple[int, dict, dict] | None:
        """Overridden by tests that want one certain response."""

    async def _misbehave_or_answer(self, body: dict, headers: dict, writer) -> bool:
        special = self.special(body, headers)
        if special is not None:
            return self._send(writer, *special)
        step, text = reply(body)
        fault = self._fault(step, text)
        if fault is not None:
            self.injected[fault] += 1
        if fault == "429":
            return self._send(
                writer, 429, {"error": {"message": "slow down"}}, {"Retry-After": self.retry_after}
            )
        if fault == "500":
            return self._send(writer, 500, {"error": {"message": "oops"}})
        if fault == "hang":
            await asyncio.sleep(self.hang_seconds)
            return False
        finish = "stop"
        if fault == "truncated":
            text, finish = text[: len(text) // 2], "length"
        elif fault == "empty":
            text = " "
        elif fault == "refusal":
            text = "I'm sorry, but I can't help with that."
        elif fault == "lost-placeholder":
            text = _KEPT.sub("", text)
        elif fault == "wrong-language":
            text = "Das ist ein Bild von einem roten Auto neben einem großen Haus im Garten."
        payload = {
            "choices": [{"message": {"content": text}, "finish_reason": finish}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20},
        }
        if fault in ("cut", "malformed"):
            raw = json.dumps(payload).encode()
            length = len(raw) if fault == "cut" else len(raw) // 2
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
            writer.write(raw[: len(raw) // 2])
            await writer.drain()
            return fault == "malformed"
        if fault not in ("truncated", "empty", "refusal"):
            self.answered[self._identity(body)] += 1
            self.by_step[step] += 1
        return self._send(writer, 200, payload)

    def _fault(self, step: str, text: str) -> str | None:
        draw = self._chance.random()
        for fault, share in self.faults.items():
            draw -= share
            if draw < 0:
                if step == "vote" and fault in ("lost-placeholder", "wrong-language"):
                    return None
                return None if fault == "lost-placeholder" and not _KEPT.search(text) else fault
        return None

    @staticmethod
    def _identity(body: dict) -> str:
        kept = {name: value for name, value in body.items() if name != "max_tokens"}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    @staticmethod
    def _send(writer, status: int, payload: dict, headers: Mapping[str, str] | None = None) -> bool:
        raw = json.dumps(payload).encode()
        lines = [
            f"HTTP/1.1 {status} X",
            f"Content-Length: {len(raw)}",
            "Content-Type: application/json",
        ]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)
        return True

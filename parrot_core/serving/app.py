"""The web application: OpenAI's chat completions, and a page to try the model in a browser."""

import asyncio
import contextlib
import hmac
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from parrot_core.data.remote_images import FetchLimits
from parrot_core.errors import GpuFullError, ParrotError
from parrot_core.generation import Conversation
from parrot_core.languages import LANGUAGES
from parrot_core.serving.bodies import BodyLimit, read_body
from parrot_core.serving.engine import BusyError, Engine, Ticket
from parrot_core.serving.pictures import load_pictures
from parrot_core.serving.protocol import ChatRequest, Reply, RequestError, read_request

_log = logging.getLogger(__name__)

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingSettings:
    """What a server allows.

    Attributes:
        name: What the model is called.
        key: The secret that requests must show; None asks for none. Never shown by `repr`.
        hosts: Names under which the server may be addressed; None is any. Without a key, another
            site's page could otherwise reach a server on the loopback by a name of its own.
        max_tokens: Longest answer.
        body_bytes: Largest request.
        seconds: For one request, all of it.
        fetch: For pictures given by web address.
        experts: Names of the experts, None for those without.
    """

    name: str
    key: str | None = field(default=None, repr=False)
    hosts: frozenset[str] | None = LOOPBACK
    max_tokens: int = 1024
    body_bytes: int = 24 * 1024 * 1024
    seconds: float = 120.0
    fetch: FetchLimits = field(default_factory=FetchLimits)
    experts: tuple[str | None, ...] = ()


class _Service:
    """The answers to requests."""

    def __init__(self, engine: Engine, settings: ServingSettings) -> None:
        self._engine = engine
        self._settings = settings
        # Decoding may need a gigabyte for one request.
        self._decoders = asyncio.Semaphore(2)

    async def health(self, request: Request) -> Response:
        self._check_host(request)
        facts = {"status": "ok", "model": self._settings.name, "requests": self._engine.admitted}
        return JSONResponse(facts)

    async def models(self, request: Request) -> Response:
        self._check_host(request)
        self._check_key(request)
        settings = self._settings
        languages = [
            {
                "code": row.code,
                "name": row.native_name,
                "right_to_left": row.right_to_left,
                "questions": row.questions,
            }
            for row in LANGUAGES.values()
        ]
        model = {
            "id": settings.name,
            "object": "model",
            "created": 0,
            "owned_by": "parrot",
            "parrot": {
                "experts": settings.experts,
                "languages": languages,
                "body_bytes": settings.body_bytes,
                "max_tokens": settings.max_tokens,
            },
        }
        name = request.path_params.get("name")
        if name is None:
            return JSONResponse({"object": "list", "data": [model]})
        self._check_model(name)
        return JSONResponse(model)

    async def chat(self, request: Request) -> Response:
        self._check_host(request)
        self._check_key(request)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            # A page of another site cannot send this type without asking first.
            raise RequestError(
                "the body must be application/json", status=415, code="unsupported_media_type"
            )
        deadline = asyncio.get_running_loop().time() + self._settings.seconds
        self._engine.admit()
        try:
            async with asyncio.timeout_at(deadline):
                body = await read_body(request, self._settings.body_bytes)
                wanted = await asyncio.to_thread(read_request, body)
                self._check_model(wanted.model)
                ticket = await self._prepare(wanted)
        except BaseException:  # a client that hangs up cancels this
            self._engine.withdraw()
            raise
        self._engine.submit(ticket)
        reply = Reply(wanted, ticket, model=self._settings.name)
        if wanted.stream:
            return StreamingResponse(
                self._stream(ticket, reply, deadline),
                media_type="text/event-stream",
                headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
            )
        try:
            await _finished_or_gone(ticket, request, deadline)
        finally:
            ticket.cancel()
        return JSONResponse(reply.whole())

    async def _stream(self, ticket: Ticket, reply: Reply, deadline: float) -> AsyncIterator[str]:
        """The events of a streamed answer; a client that hangs up ends it at the next token."""
        try:
            begun = False
            async for piece in _pieces(ticket, deadline):
                if not begun:
                    yield _event(reply.first())
                    begun = True
                if piece:
                    yield _event(reply.piece(piece))
            yield _event(reply.last())
            if (usage := reply.usage()) is not None:
                yield _event(usage)
        except Exception as error:  # noqa: BLE001 - the status is sent; the error becomes an event
            _, document = _as_error(error, self._settings)
            yield _event(document)
        finally:
            ticket.cancel()
        yield "data: [DONE]\n\n"

    async def _prepare(self, wanted: ChatRequest) -> Ticket:
        images = await load_pictures(
            wanted.image_urls, self._settings.fetch, decoders=self._decoders
        )
        conversation = Conversation(messages=wanted.messages, images=tuple(images))
        prompt = await asyncio.to_thread(self._engine.encode, conversation)
        most = self._settings.max_tokens
        return Ticket(
            prompt,
            max_new_tokens=min(wanted.max_tokens or most, most),
            sampling=wanted.sampling,
            stop=wanted.stop,
            on_finish=self._engine.leave,
        )

    def _check_host(self, request: Request) -> None:
        hosts = self._settings.hosts
        try:
            name = request.url.hostname or ""
        except ValueError as error:
            raise RequestError(f"broken Host header: {error}", code="unknown_host") from error
        if hosts is not None and name not in hosts:
            raise RequestError(f"not served here: {name}", status=421, code="unknown_host")

    def _check_key(self, request: Request) -> None:
        key = self._settings.key
        shown = request.headers.get("authorization", "")
        # Headers are read as Latin-1, whatever their bytes.
        right = f"Bearer {key}".encode()
        if key is not None and not hmac.compare_digest(shown.encode("latin-1"), right):
            raise RequestError(
                "no valid key: send the header Authorization: Bearer KEY",
                status=401,
                code="invalid_api_key",
            )

    def _check_model(self, name: str) -> None:
        if name != self._settings.name:
            raise RequestError(
                f"no model {name!r} is served here, only {self._settings.name!r}",
                status=404,
                code="model_not_found",
                param="model",
            )


def make_app(engine: Engine, settings: ServingSettings) -> Starlette:
    """Makes the application; the engine starts and ends with it.

    Args:
        engine: Not started yet.
        settings: What is allowed.
    """
    service = _Service(engine, settings)
    folder = files("parrot_core.serving").joinpath("page")
    pages = {path: folder.joinpath(name).read_bytes() for path, (name, _) in _PAGE.items()}

    async def page(request: Request) -> Response:
        path = request.url.path
        return Response(pages[path], media_type=_PAGE[path][1], headers=_PAGE_HEADERS)

    async def fail(_: Request, error: Exception) -> Response:
        status, document = _as_error(error, settings)
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        if status == 503:
            headers["Retry-After"] = "1"
        return JSONResponse(document, status_code=status, headers=headers)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        engine.start()
        try:
            yield
        finally:
            await asyncio.to_thread(engine.close)

    return Starlette(
        routes=[
            Route("/v1/chat/completions", service.chat, methods=["POST"]),
            Route("/v1/models", service.models),
            Route("/v1/models/{name:path}", service.models),
            Route("/health", service.health),
            *(Route(path, page) for path in _PAGE),
        ],
        middleware=[Middleware(BodyLimit)],
        exception_handlers={
            ParrotError: fail,
            TimeoutError: fail,
            HTTPException: fail,
            Exception: fail,
        },
        lifespan=lifespan,
    )


async def _pieces(ticket: Ticket, deadline: float) -> AsyncIterator[str]:
    """Yields the pieces of an answer; raises what went wrong with it, or TimeoutError."""
    while True:
        async with asyncio.timeout_at(deadline):
            event = await ticket.events.get()
        if event is None:
            return
        if isinstance(event, BaseException):
            raise event
        yield event


async def _finished_or_gone(ticket: Ticket, request: Request, deadline: float) -> None:
    """Waits for the answer's end, or returns as soon as nobody waits for it any more."""

    async def finish() -> None:
        async for _ in _pieces(ticket, deadline):
            pass

    async def hang_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = [asyncio.create_task(finish()), asyncio.create_task(hang_up())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()  # raises what went wrong
    finally:
        for task in tasks:
            task.cancel()


def _event(document: dict[str, Any]) -> str:
    return f"data: {json.dumps(document, ensure_ascii=False)}\n\n"


def _as_error(error: Exception, settings: ServingSettings) -> tuple[int, dict[str, Any]]:
    """The status and the document that tell a client of an error."""
    status, code, param = 400, "invalid_request", None
    message = str(error)
    if isinstance(error, RequestError):
        status, code, param = error.status, error.code, error.param
    elif isinstance(error, BusyError):
        status, code = 503, "overloaded"
    elif isinstance(error, GpuFullError):
        status, code, message = 503, "gpu_full", error.problem
    elif isinstance(error, ParrotError):
        message = f"{error.problem}. {error.hint}" if error.hint else error.problem
    elif isinstance(error, TimeoutError):
        status, code = 504, "timeout"
        message = f"not answered within {settings.seconds:g} seconds"
    elif isinstance(error, HTTPException):
        status, code, message = error.status_code, "not_served", error.detail
    else:
        status, code, message = 500, "server_error", "the model failed; the server's log says how"
    kind = "invalid_request_error" if status < 500 else "server_error"
    return status, {"error": {"message": message, "type": kind, "param": param, "code": code}}

"""Bodies of requests, of bounded size."""

import asyncio

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parrot_core.serving.protocol import RequestError

_DRAIN_SECONDS = 10.0
_DRAIN_BYTES = 256 * 1024 * 1024


async def read_body(request: Request, most: int) -> bytes:
    """Reads a body of at most so many bytes.

    Raises:
        RequestError: 413 if there are more; 400 if the client hangs up before the end.
    """
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > most:
        raise _too_large(most)
    data = bytearray()
    try:
        async for chunk in request.stream():
            data += chunk
            if len(data) > most:
                raise _too_large(most)
    except ClientDisconnect as error:
        raise RequestError("the request was cut off", code="incomplete") from error
    return bytes(data)


def _too_large(most: int) -> RequestError:
    return RequestError(
        f"the request has more than {most / 2**20:g} MiB: send a smaller picture",
        status=413,
        code="request_too_large",
    )


class BodyLimit:
    """Lets a client finish sending a body that was refused, so that it can read why.

    A server that closes the connection in the midst of a body resets it, and the reply is lost.
    What comes is thrown away, for so many seconds and bytes at most.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        more = True

        async def watched() -> Message:
            nonlocal more
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def drained(message: Message) -> None:
            if message["type"] == "http.response.start" and more and message["status"] >= 400:
                thrown = 0
                try:
                    async with asyncio.timeout(_DRAIN_SECONDS):
                        while more and thrown < _DRAIN_BYTES:
                            thrown += len((await watched()).get("body", b""))
                except TimeoutError:
                    pass
            await send(message)

        await self._app(scope, watched, drained)

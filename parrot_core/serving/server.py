"""The web server: Uvicorn, which ends the answers under way as soon as it is told to stop."""

import asyncio
import logging
import socket

import uvicorn
from starlette.types import ASGIApp

from parrot_core.serving.engine import Engine

_CONNECTIONS = 512  # beyond which Uvicorn refuses everybody, whoever came first
_LAST_WORDS_SECONDS = 5  # for clients to take what is still to be said to them


class Server(uvicorn.Server):
    """Serves an application until Ctrl-C.

    Args:
        app: The application.
        engine: Its engine; closed before the connections are, so that every answer has an end.
        log_level: Of Uvicorn's own messages.
    """

    def __init__(self, app: ASGIApp, engine: Engine, *, log_level: str = "warning") -> None:
        super().__init__(
            uvicorn.Config(
                app,
                access_log=False,
                log_level=log_level,
                limit_concurrency=_CONNECTIONS,
                timeout_graceful_shutdown=_LAST_WORDS_SECONDS,
                server_header=False,
            )
        )
        self._engine = engine
        logging.getLogger("uvicorn.error").addFilter(_is_news)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends answers, then connections."""
        await asyncio.to_thread(self._engine.close)
        await super().shutdown(sockets)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a message says more than that a request was cut off, as it is when a server stops."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, asyncio.CancelledError)

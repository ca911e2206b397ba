"""Pictures from URLs, under limits: nothing but pictures, and nothing from a private network.

An address is checked where it cannot change any more: at the socket that is about to be connected,
after its name was resolved, for the first address and for each that a redirect leads to.
"""

import asyncio
import ipaddress
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from parrot_core.errors import ParrotError, RemoteError, UsageError

_REDIRECTS = 5
_CHUNK = 1 << 16

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchLimits:
    """What a picture from a URL may cost.

    Attributes:
        bytes: Size of the file, at most.
        seconds: From the first look-up of a name to the last byte.
        private_networks: Whether addresses that the public internet does not route are allowed:
            this machine, the local network, a cloud's metadata service.
    """

    bytes: int = 20 * 1024 * 1024
    seconds: float = 20.0
    private_networks: bool = False


class _ForbiddenAddressError(OSError):
    """A connection that was about to be made to a private address."""


def is_url(text: str) -> bool:
    """Whether a text is meant as a web address rather than as a file's path."""
    return text.lower().startswith(("http://", "https://"))


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, also where it wraps one of IPv4."""
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour
        if wrapped is None and address in _TRANSLATED:
            wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(wrapped)
        if address.teredo is not None or address not in _UNICAST:
            return False
    return address.is_global and not address.is_multicast


_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")  # IPv4 behind a translator (RFC 6052)
_UNICAST = ipaddress.IPv6Network("2000::/3")  # all of IPv6 that is given out (RFC 4291)


def fetch_image(url: str, limits: FetchLimits) -> bytes:
    """Fetches a picture's file; for callers without an event loop."""
    return asyncio.run(fetch_image_async(url, limits))


async def fetch_image_async(url: str, limits: FetchLimits) -> bytes:
    """Fetches a picture's file; whether it can be decoded is for `open_image` to say.

    Proxies of the environment are not used: they would connect where nobody here can check.

    Raises:
        UsageError: if the URL is none, is on a private network, or is no picture or too large.
        RemoteError: if it cannot be had: no connection, an error status, too slow.
    """
    _check_url(url)
    timeout = aiohttp.ClientTimeout(total=limits.seconds)
    connector = aiohttp.TCPConnector(
        socket_factory=_socket_factory(limits), happy_eyeballs_delay=None, force_close=True
    )
    headers = {"Accept": "image/*", "Accept-Encoding": "identity"}
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, auto_decompress=False, headers=headers
            ) as session,
            session.get(url, max_redirects=_REDIRECTS) as reply,
        ):
            _check_reply(url, reply, limits)
            return await _read(url, reply, limits)
    except ParrotError:
        raise
    except TimeoutError as error:
        raise RemoteError(
            f"{url} did not come within {limits.seconds:g} seconds",
            hint="Try again, or fetch the file yourself and give its path.",
        ) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _explain(url, error) from error


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # read, because only reading it finds one that is no number
    except ValueError:
        usable = False
    if not usable:
        raise _no_address(url)
    if parts.username or parts.password:
        raise UsageError(
            f"the address of a picture at {parts.hostname} has a name or password in it",
            hint="Fetch the file yourself and give its path.",
        )


def _no_address(url: str) -> UsageError:
    return UsageError(
        f"no web address of a picture: {url!r}", hint="It begins with http:// or https://."
    )


def _socket_factory(limits: FetchLimits) -> Callable[[Any], socket.socket]:
    def connect(info: Any) -> socket.socket:  # noqa: ANN401 - as `getaddrinfo` gives them
        family, kind, protocol, _, target = info
        address = ipaddress.ip_address(str(target[0]).partition("%")[0])
        if not limits.private_networks and not is_public(address):
            raise _ForbiddenAddressError(str(address))
        return socket.socket(family=family, type=kind, proto=protocol)

    return connect


def _check_reply(url: str, reply: aiohttp.ClientResponse, limits: FetchLimits) -> None:
    if reply.status != 200:
        raise RemoteError(
            f"{url} answers with status {reply.status}", hint="Check the address in a browser."
        )
    kind = reply.content_type
    if not kind.startswith("image/") or reply.headers.get("Content-Encoding", "identity") not in (
        "identity",
        "",
    ):
        raise UsageError(
            f"{url} is no picture: its content type is {kind}",
            hint="Give the address of the picture itself, not of the page that shows it.",
        )
    if reply.content_length is not None and reply.content_length > limits.bytes:
        raise _too_large(url, limits)


async def _read(url: str, reply: aiohttp.ClientResponse, limits: FetchLimits) -> bytes:
    data = bytearray()
    async for chunk in reply.content.iter_chunked(_CHUNK):
        data += chunk
        if len(data) > limits.bytes:
            raise _too_large(url, limits)
    return bytes(data)


def _too_large(url: str, limits: FetchLimits) -> UsageError:
    return UsageError(
        f"the picture at {url} is larger than {limits.bytes / 2**20:g} MiB",
        hint="Fetch it yourself, and save it smaller.",
    )


def _explain(url: str, error: Exception) -> ParrotError:
    """Says what became of a request, without the library's words where there are better ones."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _ForbiddenAddressError):
            return UsageError(
                f"{url} leads to an address on a private network",
                hint="Allow it with --allow-private-network if it is one of yours.",
            )
        cause = cause.__cause__ or getattr(cause, "os_error", None)
    if isinstance(error, aiohttp.InvalidURL) and not isinstance(error, aiohttp.RedirectClientError):
        return _no_address(url)  # a number, for instance, that some programs take for a host
    if isinstance(error, aiohttp.TooManyRedirects):
        reason = f"it redirects more than {_REDIRECTS} times"
    elif isinstance(error, aiohttp.RedirectClientError):
        reason = "it redirects to what is no web address"
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        reason = "no such host"
    elif isinstance(error, aiohttp.ClientConnectorError) and error.errno:
        reason = os.strerror(error.errno)
    else:
        reason = str(error) or type(error).__name__
    return RemoteError(f"cannot fetch {url}: {reason}", hint="Check the address and the network.")

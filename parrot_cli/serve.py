"""`parrot serve`: a checkpoint for other programs, and for a browser."""

import ipaddress
import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from parrot_cli.checkpoints import DeviceOption, DtypeOption, LoadIn4BitOption, choose_checkpoint
from parrot_cli.output import loading, note
from parrot_core.errors import UsageError

KEY_VARIABLE = "PARROT_API_KEY"


def serve(
    *,
    model: Annotated[
        Path | None,
        typer.Option(help="The checkpoint.", show_default="the newest below runs/"),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What clients call the model.", show_default="the checkpoint's folder"),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but loopback needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    batch_size: Annotated[int, typer.Option(min=1, help="Requests answered together.")] = 16,
    max_waiting: Annotated[
        int, typer.Option(min=0, help="Requests that may wait; others are told to come again.")
    ] = 64,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 1024,
    max_request_mb: Annotated[
        int, typer.Option(min=1, help="Largest request in MiB; pictures grow by a third in it.")
    ] = 24,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for one request.")] = 120.0,
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    load_in_4bit: LoadIn4BitOption = False,
    allow_private_network: Annotated[
        bool, typer.Option(help="Fetch pictures from addresses that are not public, too.")
    ] = False,
) -> None:
    """Serve a checkpoint to other programs and to a browser.

    OpenAI's chat completions are at /v1, the page is at /.

    The key that clients must send is read from the environment variable PARROT_API_KEY.
    """
    key = os.environ.get(KEY_VARIABLE) or None
    loopback = is_loopback(host)
    if key is None and not loopback:
        raise UsageError(
            f"{host} can be reached from other machines, and there is no key",
            hint=f"Set {KEY_VARIABLE} to a secret that clients must send.",
        )
    listening = _listen(host, port)
    checkpoint = choose_checkpoint(model)
    with loading(checkpoint):
        from parrot_core.data.remote_images import FetchLimits
        from parrot_core.generation import load_for_use
        from parrot_core.serving.app import LOOPBACK, ServingSettings, make_app
        from parrot_core.serving.engine import Engine
        from parrot_core.serving.expert_names import find_expert_names
        from parrot_core.serving.server import Server

        parts = load_for_use(checkpoint, device=device, dtype=dtype, four_bit=load_in_4bit)
        settings = ServingSettings(
            name=name or "/".join(checkpoint.resolve().parts[-2:]).lstrip("/"),
            key=key,
            hosts=None if key is not None else LOOPBACK | {host},
            max_tokens=max_tokens,
            body_bytes=max_request_mb * 2**20,
            seconds=timeout,
            fetch=FetchLimits(private_networks=allow_private_network),
            experts=find_expert_names(*parts),
        )
        engine = Engine(parts, batch_size=batch_size, most_waiting=max_waiting)
        server = Server(make_app(engine, settings), engine)
    place = f"[{host}]" if ":" in host else host
    note(
        f"{settings.name} is served at http://{place}:{listening.getsockname()[1]}/v1 "
        f"(a page to try it at /{', a key is needed' if key else ''}); Ctrl-C ends it"
    )
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt as error:  # how it is meant to end
        raise typer.Abort from error


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    """Takes the port before the model is loaded, which may take minutes."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}",
            hint="Choose another --port or --host; --port 0 takes a free port.",
        ) from error

import ipaddress
import socket

import pytest

from parrot_core.data import remote_images
from parrot_core.data.images import open_image
from parrot_core.data.remote_images import FetchLimits, fetch_image, is_public
from parrot_core.errors import RemoteError, UsageError

OPEN = FetchLimits(private_networks=True, seconds=5)


def test_a_picture_comes_as_it_is(picture_server):
    data = fetch_image(picture_server.url("/a.png"), OPEN)
    assert data == picture_server.png
    assert open_image(data).size == picture_server.picture.size
    assert fetch_image(picture_server.url("/near"), OPEN) == data


def test_private_addresses_are_not_even_asked(picture_server):
    port = picture_server.url("/").split(":")[2]
    for host in ("127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "0"):
        with pytest.raises((UsageError, RemoteError)):
            fetch_image(f"http://{host}:{port}a.png", FetchLimits(seconds=5))
    with pytest.raises(UsageError, match="an address on a private network"):
        fetch_image(picture_server.url("/a.png"), FetchLimits())
    with pytest.raises(UsageError, match="an address on a private network"):
        fetch_image(f"http://localhost:{port}a.png", FetchLimits())
    assert picture_server.asked == []


def test_a_public_name_of_a_private_address_is_refused_before_it_is_asked(
    picture_server, monkeypatch
):
    """Whoever owns a domain can let its names point anywhere, and elsewhere the next moment."""
    port = int(picture_server.url("/").split(":")[2].strip("/"))
    resolve = socket.getaddrinfo

    def rebind(host, *arguments, **options):
        named = "127.0.0.1" if host == "pictures.example" else host
        return resolve(named, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    url = f"http://pictures.example:{port}/a.png"
    with pytest.raises(UsageError, match="an address on a private network"):
        fetch_image(url, FetchLimits(seconds=5))
    assert picture_server.asked == []
    assert fetch_image(url, OPEN) == picture_server.png


def test_redirects_to_private_addresses_are_not_followed(picture_server, monkeypatch):
    """The server's own address is taken for a public one, another of this machine is not."""
    monkeypatch.setattr(remote_images, "is_public", lambda address: str(address) == "127.0.0.1")
    picture_server.server.elsewhere = picture_server.url("/a.png").replace("127.0.0.1", "127.0.0.2")
    assert fetch_image(picture_server.url("/near"), FetchLimits()) == picture_server.png
    with pytest.raises(UsageError, match="an address on a private network"):
        fetch_image(picture_server.url("/elsewhere"), FetchLimits())


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::5db8:d822", True),
        ("2002:7f00:1::", False),
        ("::127.0.0.1", False),
        ("64:ff9b:1::7f00:1", False),
        ("2001:0:5db8:d822::", False),
    ],
)
def test_which_addresses_are_public(address, public):
    assert is_public(ipaddress.ip_address(address)) is public


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("/page", UsageError, "content type is text/html"),
        ("/packed", UsageError, "is no picture"),
        ("/large", UsageError, "larger than 1 MiB"),
        ("/endless", UsageError, "larger than 1 MiB"),
        ("/missing", RemoteError, "status 404"),
        ("/loop", RemoteError, "redirects more than 5 times"),
        ("/file", RemoteError, "redirects to what is no web address"),
    ],
)
def test_what_is_no_picture_or_too_much_is_said(picture_server, path, error, message):
    limits = FetchLimits(private_networks=True, bytes=2**20, seconds=10)
    with pytest.raises(error, match=message):
        fetch_image(picture_server.url(path), limits)


def test_what_comes_too_slowly_is_given_up(picture_server):
    with pytest.raises(RemoteError, match=r"did not come within 0\.2 seconds"):
        fetch_image(picture_server.url("/slow"), FetchLimits(private_networks=True, seconds=0.2))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/a.png",
        "http://",
        "http://x:99999/a",
        "http://me:pw@example.org/a",
        "http://2130706433/a.png",
        "http://0177.0.0.1/a.png",
        "http://127.1/a.png",
        "http://0/a.png",
    ],
)
def test_what_is_no_address_of_a_picture_is_said(url):
    with pytest.raises(UsageError, match="address of a picture"):
        fetch_image(url, FetchLimits())


def test_nobody_there_is_a_remote_failure():
    with pytest.raises(RemoteError, match="cannot fetch"):
        fetch_image("http://127.0.0.1:1/a.png", OPEN)

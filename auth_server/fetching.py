"""Fetch what a stranger's URL names, without being sent where the stranger cannot go: CIMD §6, "server-side request
forgery". The address is checked when we connect, and what was checked is what we connect to."""

import contextlib
import functools
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    import httpcore2

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[str]]

TIME_LIMIT = 5  # seconds, for everything together
SIZE_LIMIT = 5 * 1024  # bytes; CIMD §6 advises 5 kB
NAMES_AT_ONCE = 8  # being looked up
SPECIAL = tuple(  # what some Pythons call global; RFC 6890 and its registries
    ipaddress.ip_network(one)
    for one in "192.0.0.0/24 192.88.99.0/24 2001::/23 2001:db8::/32 2002::/16 3fff::/20 fec0::/10".split()
)


@dataclass(frozen=True)
class Fetched:
    """An answer with status 200 and a body within the limit. Header names are in lower case."""

    headers: dict[str, str]
    body: bytes


class CannotFetch(Exception):
    """The message is half a sentence for whoever asked: what was wrong there."""


class Unreachable(CannotFetch):
    """It says nothing about the document: later somebody may answer."""


def public_address(address: Address, loopback_only: bool) -> bool:
    """No private, shared, link-local, multicast or otherwise special address: CIMD §6, RFC 6890."""
    if loopback_only:
        return True
    special = address.is_multicast or address.is_reserved or any(address in network for network in SPECIAL)
    return address.is_global and not special


def this_computer(address: Address, loopback_only: bool) -> bool:
    """What may be http because it does not leave this computer must not leave it."""
    return address.is_loopback or not loopback_only


ADDRESS_RULES = (public_address, this_computer)


def plain_success(status: int, headers: dict[str, str]) -> None:
    if status == 429 or status >= 500:
        raise Unreachable(f"its status was {status}")
    if status != 200:
        raise CannotFetch(f"its status was {status}, and only 200 will do")  # CIMD §4: no redirects either


def json_type(status: int, headers: dict[str, str]) -> None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise CannotFetch("it is not application/json")  # CIMD §4.1


def as_it_is(status: int, headers: dict[str, str]) -> None:
    if headers.get("content-encoding", "identity") != "identity":
        raise CannotFetch("it is compressed, which we did not ask for")


ANSWER_RULES = (plain_success, json_type, as_it_is)


def look_up(host: str, port: int) -> list[str]:
    """What the name server says now."""
    return [found[4][0] for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def checked(found: list[str], loopback_only: bool) -> list[str]:
    """These addresses, if all of them are allowed. Raises `CannotFetch` otherwise."""
    addresses = [ipaddress.ip_address(one.partition("%")[0]) for one in found]
    if not addresses:
        raise CannotFetch("its host has no address")
    for rule in ADDRESS_RULES:
        if not all(rule(address, loopback_only) for address in addresses):
            raise CannotFetch("its host has an address that we do not go to")  # CIMD §6
    return list(dict.fromkeys(map(str, addresses)))


class Fetcher:
    """Call it with a URL. `resolve` finds the addresses of a host and a port."""

    def __init__(self, resolve: Resolve = look_up):
        self.resolve = resolve
        self.limiter = anyio.CapacityLimiter(NAMES_AT_ONCE)

    async def __call__(self, url: str, loopback_only: bool = False) -> Fetched:
        """`loopback_only`: it must be on this computer, and may then be http. Raises `CannotFetch`."""
        import httpcore2  # not needed before the first document

        try:
            with anyio.fail_after(TIME_LIMIT):
                return await self.get(url, checked_backend(self.addresses, loopback_only))
        except (TimeoutError, httpcore2.TimeoutException):
            raise Unreachable(f"it took more than {TIME_LIMIT} seconds") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError, UnicodeError):  # the last: an odd name
            raise Unreachable("its host cannot be reached") from None

    async def get(self, url: str, backend: "httpcore2.AsyncNetworkBackend") -> Fetched:
        import httpcore2

        context = certificates() if url.startswith("https://") else None
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "auth_server"}
        async with (
            httpcore2.AsyncConnectionPool(context, network_backend=backend) as pool,
            pool.stream("GET", url, headers=list(headers.items())) as answer,
        ):
            found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
            for rule in ANSWER_RULES:
                rule(answer.status, found)
            body = b""
            async for chunk in answer.aiter_stream():
                body += chunk
                if len(body) > SIZE_LIMIT:
                    raise CannotFetch(f"it has more than {SIZE_LIMIT} bytes")  # CIMD §6
        return Fetched(found, body)

    async def addresses(self, host: str, port: int) -> list[str]:
        """A name server may take its time: not ours."""
        return await anyio.to_thread.run_sync(
            self.resolve, host.strip("[]"), port, abandon_on_cancel=True, limiter=self.limiter
        )


@functools.cache
def certificates() -> ssl.SSLContext:
    """Those that this computer trusts; SSL_CERT_FILE adds to them."""
    return ssl.create_default_context()


def checked_backend(
    resolve: Callable[[str, int], Awaitable[list[str]]], loopback_only: bool
) -> "httpcore2.AsyncNetworkBackend":
    """Connects only to an address that it has checked itself: between check and use nobody asks a name server again.

    Host header and TLS name stay those of the URL.
    """
    import httpcore2

    class Checked(httpcore2.AsyncNetworkBackend):
        async def connect_tcp(self, host: str, port: int, **options: object) -> httpcore2.AsyncNetworkStream:
            for address in checked(await resolve(host, port), loopback_only):
                with contextlib.suppress(httpcore2.ConnectError):
                    return await httpcore2.AnyIOBackend().connect_tcp(address, port, **options)
            raise httpcore2.ConnectError("no address of this host answers")

    return Checked()

"""Run a finished program: sockets, TLS, a proxy before it, orderly log lines and an orderly end."""

import asyncio
import ipaddress
import logging
import socket
import ssl
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from shared.serving import OneLine, listener, loopback_sockets
from shared.stop import Stop

GRACE = 10  # seconds that requests under way may still take when we stop
PATIENCE = 30  # seconds for a request to begin or end on an open connection
HEAD_LIMIT = 65_536  # bytes before a request has begun


def is_loopback(host: str) -> bool:
    """Whether this name or address means this very computer, whatever a name server says."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def serve(
    app: ASGIApp,
    url: str,
    *,
    listen: str = "",
    certificate: Path | None = None,
    key: Path | None = None,
    proxies: str = "",
    name: str = "server",
) -> None:
    """Serve `app` until Ctrl-C or SIGTERM, and then let the requests under way come to their end.

    `url` is what the world calls this server. `listen` is HOST:PORT; without it, loopback at the port of `url`.
    `proxies`: addresses whose X-Forwarded-For and -Proto are believed, separated by commas; empty for nobody's.
    Raises `Stop` with one sentence if the port is taken, or certificate and key are no pair.
    """
    say_what_happens(name)
    sockets = sockets_for(url, listen)
    config = uvicorn.Config(
        app,
        http=Impatient,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies or [],
        timeout_graceful_shutdown=GRACE,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise Stop(f"The certificate {certificate} and its key {key} cannot be used: {error.strerror}.") from None
    logging.getLogger(name).info("listening on %s", url)
    try:
        uvicorn.Server(config).run(sockets=sockets)
    except KeyboardInterrupt:
        pass


class Impatient(AutoHTTPProtocol):
    """A connection on which no request begins or ends for a while is closed, and one whose request has no end of heads.

    Open files are few, and so is memory.
    """

    seen, waiting_bytes = None, 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.client = self.client and (as_ipv4(self.client[0]), self.client[1])
        self.loop.call_later(PATIENCE, self.look)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        self.waiting_bytes = self.waiting_bytes + len(data) if self.cycle is before and self.idle() else 0
        if self.waiting_bytes > HEAD_LIMIT:
            self.transport.close()

    def look(self) -> None:
        if self.cycle is self.seen and self.idle():
            self.transport.close()
        if not self.transport.is_closing():
            self.seen = self.cycle
            self.loop.call_later(PATIENCE, self.look)

    def idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete


@lru_cache(10_000)
def as_ipv4(host: str) -> str:
    """A socket for both kinds of addresses shows those of IPv4 in another form."""
    try:
        return str(getattr(ipaddress.ip_address(host), "ipv4_mapped", None) or host)
    except ValueError:
        return host


def sockets_for(url: str, listen: str) -> list[socket.socket]:
    try:
        split = urlsplit(f"//{listen}" if listen else url)
        host, port = split.hostname, split.port or (443 if url.startswith("https") else 80)
    except ValueError:
        host = None
    if not host:
        raise Stop(f"Cannot listen at {listen or url}: it must be HOST:PORT, like 0.0.0.0:8443.")
    if not listen or host == "localhost":
        return loopback_sockets(port)
    try:
        return [listener(host, port)]
    except OSError as error:
        raise Stop(f"Cannot listen at {listen}: {error.strerror}.") from None


def say_what_happens(name: str) -> None:
    logging.basicConfig(level=logging.INFO, force=True)
    logging.getLogger().handlers[0].setFormatter(OneLine("%(name)-12s %(message)s"))
    for talkative in ("uvicorn.error", "mcp", "httpx2", "httpcore2"):
        logging.getLogger(talkative).setLevel(logging.WARNING)


def may_be_http(url: str, proxies: str) -> bool:
    """http leaves this computer only behind a proxy that speaks https for us."""
    split = urlsplit(url)
    return split.scheme == "https" or is_loopback(split.hostname or "") or bool(proxies)

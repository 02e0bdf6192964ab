"""Run a finished program: sockets, TLS, a proxy before it, orderly log lines and an orderly end."""

import ipaddress
import logging
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.types import ASGIApp

from shared.serving import TAKEN, OneLine, PortTaken, loopback_sockets
from shared.stop import Stop

GRACE = 10  # seconds that requests under way may still take when we stop


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


def sockets_for(url: str, listen: str) -> list[socket.socket]:
    split = urlsplit(f"//{listen}" if listen else url)
    port = split.port or (443 if url.startswith("https") else 80)
    if not listen or split.hostname == "localhost":
        return loopback_sockets(port)
    try:
        family = socket.AF_INET6 if ":" in split.hostname else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, so asyncio sends at once
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((split.hostname, port))
        listener.listen(2048)
    except OSError as error:
        raise PortTaken(port) if error.errno in TAKEN else Stop(f"Cannot listen on {listen}: {error}.") from None
    return [listener]


def say_what_happens(name: str) -> None:
    logging.basicConfig(level=logging.INFO, force=True)
    logging.getLogger().handlers[0].setFormatter(OneLine("%(name)-12s %(message)s"))
    for talkative in ("uvicorn.error", "mcp", "httpx2", "httpcore2"):
        logging.getLogger(talkative).setLevel(logging.WARNING)


def may_be_http(url: str, proxies: str) -> bool:
    """http leaves this computer only behind a proxy that speaks https for us."""
    split = urlsplit(url)
    return split.scheme == "https" or is_loopback(split.hostname or "") or bool(proxies)

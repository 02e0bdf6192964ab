"""Serve one app on loopback: quiet log lines, one sentence when the port is taken, and an orderly end."""

import contextlib
import errno
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import tracing
from shared.addresses import AS_PORT, LOOPBACK_HOSTS, MCP_PORT, NEIGHBOUR_PORT, UPSTREAM_PORT
from shared.stop import Stop

STOP_AT_END_OF_INPUT = "STOP_AT_END_OF_INPUT"
PROGRAM_NAME = "PROGRAM_NAME"
AUDIT_LOG = "AUDIT_LOG"
TAKEN = (errno.EADDRINUSE,) if os.name == "posix" else (errno.EADDRINUSE, errno.EACCES)
ONE_OWNER_PER_PORT = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)  # the first is how Windows says it


class PortTaken(Stop):
    """Somebody else listens where we wanted to."""

    def __init__(self, port: int):
        ports = {AS_PORT: "AS_PORT", MCP_PORT: "MCP_PORT", NEIGHBOUR_PORT: "NEIGHBOUR_PORT"}
        variable = (ports | {UPSTREAM_PORT: "UPSTREAM_PORT"}).get(port)
        like = f"{variable}={port + 10}" if variable else "one that is free"
        super().__init__(
            f"Port {port} is taken by another program (or by a `serve` of ours). "
            f"Stop it, or choose another port: {like}"
        )


def loopback_sockets(port: int) -> list[socket.socket]:
    """`localhost` means 127.0.0.1 to some programs and ::1 to others, so we take both; never an outside address."""
    sockets = []
    for host in LOOPBACK_HOSTS:
        try:
            sockets.append(listener(host, port))
        except OSError as error:
            if ":" not in host:
                raise Stop(f"Cannot listen at {host}, port {port}: {error.strerror}.") from None
            continue  # this computer has no IPv6
        except PortTaken:
            for opened in sockets:
                opened.close()
            raise
    return sockets


def listener(host: str, port: int) -> socket.socket:
    """Raises PortTaken, or OSError if nobody could listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, so asyncio sends at once
    try:
        found.setsockopt(socket.SOL_SOCKET, ONE_OWNER_PER_PORT, 1)
        found.bind((host, port))
        found.listen(2048)
    except OSError as error:
        found.close()
        if error.errno in TAKEN:
            raise PortTaken(port) from None
        raise
    return found


def check_free(ports: list[int]) -> None:
    """Raise PortTaken now rather than let a client talk to a stranger later."""
    for port in ports:
        for listener in loopback_sockets(port):
            listener.close()


orders: dict[str, Callable[[str], object]] = {}  # what the program that started us may tell us to do
obeyed = 0  # how many of its orders are done with
failed = ""  # what went wrong with the last one
OBEYED, FAILED = "Orders-Obeyed", "Order-Failed"


async def healthy(_: Request) -> Response:
    return JSONResponse({"status": "ok"}, headers={OBEYED: str(obeyed), FAILED: failed} if obeyed else {})


HEALTH = Route("/health", healthy)


class OneLine(logging.Formatter):
    """What strangers sent may be part of a message: it must not move the cursor or begin a line of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in record.message)
        return super().formatMessage(record)


class LogRequests:
    """One line per request: method, path, status. Never the query, never a header: secrets travel there."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/health":
            return await self.app(scope, receive, send)

        async def log_then_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                logging.getLogger("http").info("%s %s %s", scope["method"], scope["path"], message["status"])
            await send(message)

        with contextlib.suppress(ClientDisconnect):  # whoever asked has hung up: there is nobody to answer
            await self.app(scope, receive, log_then_send)


def serve(app: ASGIApp, url: str) -> None:
    """Serve `app` at `url` until Ctrl-C, or until whoever started us is gone."""
    program = os.environ.get(PROGRAM_NAME) or os.path.basename(sys.argv[0]).removesuffix(".py")
    logging.basicConfig(level=logging.INFO, force=True)
    logging.getLogger().handlers[0].setFormatter(OneLine(f"{program:<12} %(message)s"))
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    for talkative in ("mcp", "httpx2", "httpcore2"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    write_audit_log()
    try:
        sockets = loopback_sockets(urlsplit(url).port)
    except PortTaken as taken:
        raise SystemExit(str(taken)) from None
    app = LogRequests(app)
    if os.environ.get(tracing.EVENTS):
        tracing.begin(Path(os.environ[tracing.EVENTS]), program)
        app = tracing.Recorder(app, program)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    if os.environ.get(STOP_AT_END_OF_INPUT):
        threading.Thread(target=obey_input, args=(server,), daemon=True).start()
    logging.getLogger("http").info("listening on %s", url)
    try:
        server.run(sockets=sockets)
    except KeyboardInterrupt:
        pass


def write_audit_log() -> None:
    """The audit log is one JSON object per line and nothing else: in a file of its own, if one is named."""
    path = os.environ.get(AUDIT_LOG)
    handler = logging.FileHandler(path, encoding="utf-8", delay=True) if path else logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("audit").handlers = [handler]
    logging.getLogger("audit").propagate = False


def obey_input(server: uvicorn.Server) -> None:
    """Our input is a pipe from the program that started us. Each line is an order; it ends when that program does."""
    global obeyed, failed
    said = b""
    while more := os.read(0, 1024):
        *lines, said = (said + more).split(b"\n")
        for order in lines:
            name, _, value = order.decode().partition(" ")
            try:
                orders[name](value)
                failed = ""
            except Exception as error:  # a step that a student builds may have nothing to do it with
                failed = ascii(f"{name}: {error}")[1:-1]
            obeyed += 1
    server.should_exit = True

"""A web site on this computer, and a name server, for attacks that make a server fetch something."""

import contextlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock

import httpcore2

from shared.operating import is_loopback


class Site:
    """A web site of the attacker on this computer. It answers by path, 404 otherwise, and counts who comes."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes, float]] = {}
        self.visits = 0
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.answer(self)

            def log_message(self, *_: object) -> None: ...

        class Server(ThreadingHTTPServer):
            def verify_request(self, *_: object) -> bool:
                site.visits += 1
                return True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.origin = f"http://localhost:{self.server.server_port}"

    def answer(self, visitor: BaseHTTPRequestHandler) -> None:
        status, headers, body, pause = self.pages.get(visitor.path, (404, {}, b"", 0.0))
        visitor.send_response(status)
        for name, value in headers.items():
            visitor.send_header(name, value)
        visitor.end_headers()
        pieces = (body[n : n + 1] for n in range(len(body))) if pause else (body,)
        with contextlib.suppress(OSError):  # the visitor has had enough
            for piece in pieces:
                visitor.wfile.write(piece)
                time.sleep(pause)

    def __enter__(self) -> "Site":
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def at(self, path: str, body: object, status: int = 200, pause: float = 0.0, **headers: str) -> str:
        """Put something there; its URL. `pause`: seconds after each byte."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.pages[path] = (status, {"Content-Type": "application/json"} | headers, content, pause)
        return self.origin + path


class Surroundings:
    """Where a server gets that looks for others: names lead where we say, and no connection leaves this computer.

    `looked_up` are the names that it asked for, `connected_to` the addresses that it tried.
    """

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {"localhost": ["127.0.0.1"]}
        self.looked_up: list[str] = []
        self.connected_to: list[str] = []

    def look_up(self, host: str, port: int) -> list[str]:
        """Addresses. Raises `OSError` if there is no such name."""
        self.looked_up.append(host)
        if host in self.names:
            return self.names[host]
        return [found[4][0] for found in socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)]

    def __enter__(self) -> "Surroundings":
        usual, connected_to = httpcore2.AnyIOBackend.connect_tcp, self.connected_to

        async def connect_tcp(
            backend: httpcore2.AnyIOBackend, host: str, port: int, **options: object
        ) -> httpcore2.AsyncNetworkStream:
            connected_to.append(host)
            if not is_loopback(host):
                raise httpcore2.ConnectError("that is not on this computer")
            return await usual(backend, host, port, **options)

        self.patched = mock.patch.object(httpcore2.AnyIOBackend, "connect_tcp", connect_tcp)
        self.patched.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.patched.stop()

"""What the tests add to a step in process: real sockets, tokens that no library would make, strict answers."""

import base64
import contextlib
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import httpx2
import uvicorn

from attacks.world import (  # noqa: F401
    CALLBACK,
    CHALLENGE,
    LIST_TOOLS,
    MCP_HEADERS,
    NATIVE,
    VERIFIER,
)
from attacks.world import InProcess as World  # noqa: F401
from shared.addresses import ISSUER, RESOURCE  # noqa: F401


@contextlib.contextmanager
def served(app: object) -> Iterator[str]:
    """The app on a real socket, for those who need one; its origin, which it believes to be its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    for middleware in app.user_middleware:
        if "own" in middleware.kwargs:
            middleware.kwargs["own"] = origin
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield origin
    server.should_exit = True
    thread.join()


def answer_in(redirect: httpx2.Response) -> dict[str, str]:
    assert redirect.status_code == 303, (redirect.status_code, redirect.text)
    return dict(parse_qsl(urlsplit(redirect.headers["location"]).query))


def raw_jwt(header: dict, claims: dict, signature: bytes = b"") -> str:
    """Three parts, whatever a library thinks of them."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()

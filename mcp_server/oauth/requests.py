"""A request before anybody looks at a token: is it for us, whose page sends it, is it too much. And its body."""

from typing import TYPE_CHECKING

from pydantic_core import from_json
from starlette.types import Receive, Scope

from .errors import stopped, too_often

if TYPE_CHECKING:
    from .middleware import Door


class Asked:
    """The headers of one request by name, in lower case, and where it comes from. Read once: calls are many."""

    __slots__ = ("method", "path", "address", "headers", "about", "name")

    def __init__(self, scope: Scope):
        self.about: dict[str, object] = {}  # what the audit trail will say besides
        self.name = ""  # of the tool, prompt or resource, once the body is read
        self.method, self.path = scope["method"], scope["path"]
        self.address = scope["client"][0] if scope.get("client") else ""
        self.headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            self.headers.setdefault(name, []).append(value)

    def all(self, name: bytes) -> list[bytes]:
        return self.headers.get(name, [])


# ── rules ─────────────────────────────────────────────────────────────────────


def own_host(asked: Asked, door: "Door") -> None:
    """A page whose name was made to point at this computer still sends its own name: RFC 9110 §7.4."""
    if asked.all(b"host") != [door.host]:
        why = f"This server is {door.settings.origin}: ask for it by that name."
        raise stopped(421, "invalid_request", why, "own_host")


def own_origin(asked: Asked, door: "Door") -> None:
    """No other website's page may talk to us, but those that the settings name."""
    for origin in asked.all(b"origin"):
        if origin not in door.origins:
            raise stopped(403, "invalid_request", "Pages of other websites may not send requests here.", "own_origin")


REQUEST_RULES = (
    own_host,
    own_origin,
)


def not_too_often(asked: Asked, door: "Door") -> None:
    """OAuth 2.1 §7.7: nobody guesses for long. Only what was refused counts, and only what we do not know yet waits."""
    if wait := door.failures.wait(asked.address):
        raise too_often(wait, "not_too_often")


GUESS_RULES = (not_too_often,)


async def read(receive: Receive, limit: int) -> bytes:
    """To its end, so that its sender can read our answer, but not much more than `limit` bytes are kept."""
    body, more = b"", True
    while more:
        message = await receive()
        body = (body + message.get("body", b""))[: limit + 1]
        more = message.get("more_body", False)
    return body


def parsed(asked: Asked, body: bytes, limit: int) -> dict | None:
    """One JSON object of at most `limit` bytes; None if it is not that. Raises Refused (413, 415)."""
    if len(body) > limit:
        raise stopped(413, "invalid_request", f"send {limit} bytes at most")
    media_type = asked.all(b"content-type")[:1] or [b""]
    if media_type[0].partition(b";")[0].strip().lower() != b"application/json":
        raise stopped(415, "invalid_request", "send application/json")
    try:
        found = from_json(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None

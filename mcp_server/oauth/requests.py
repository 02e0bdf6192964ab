"""What is judged about a request besides its token: who it is for, who sends it, how often, and what it says."""

from collections.abc import Hashable
from typing import TYPE_CHECKING

from mcp.shared.inbound import decode_header_value
from pydantic_core import from_json
from starlette.types import Receive, Scope

from shared.limits import Window

from .errors import contradiction, stopped
from .scopes import allowed, subjects_of

if TYPE_CHECKING:
    from .middleware import Door
    from .tokens import Known


class Asked:
    """One request: its headers by name, in lower case, and where it comes from. Read once: calls are many."""

    user: "Known"
    message: dict
    subjects: list[tuple[str, str]]  # what the message is about
    called: str = ""  # the method that it names
    name: str  # of the tool, prompt or resource that it uses

    def __init__(self, scope: Scope):
        self.about: dict[str, object] = {}  # what the audit trail will say besides
        self.method, self.path = scope["method"], scope["path"]
        self.address = scope["client"][0] if scope.get("client") else ""
        self.headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            self.headers.setdefault(name, []).append(value)

    def all(self, name: bytes) -> list[bytes]:
        return self.headers.get(name, [])


async def read(receive: Receive, limit: int) -> bytes:
    """To its end, so that its sender can read our answer, but not much more than `limit` bytes are kept."""
    body, more = b"", True
    while more:
        message = await receive()
        body = (body + message.get("body", b""))[: limit + 1]
        more = message.get("more_body", False)
    return body


def take_in(asked: Asked, body: bytes, door: "Door") -> None:
    """The message: one JSON object. Raises Refused (400, 413, 415)."""
    if len(body) > door.limit:
        raise stopped(413, "invalid_request", f"send {door.limit} bytes at most")
    media_type = asked.all(b"content-type")[:1] or [b""]
    if media_type[0].partition(b";")[0].strip().lower() != b"application/json":
        raise stopped(415, "invalid_request", "send application/json")
    try:
        message = from_json(body)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise door.refusals.bad_request("send one JSON object")
    asked.message, asked.subjects = message, subjects_of(message)
    asked.called, asked.name = asked.subjects[0]
    asked.about["operation"] = f"{asked.called} {asked.name}"[:100].rstrip()


def at_most(window: Window, key: Hashable, rule: str, soon: bool = False) -> None:
    """Count it, if it may happen now. RFC 6585 §4: else, after how many seconds; `soon` there will be room."""
    if wait := window.wait(key):
        why, headers = "that was too much at once", {"Retry-After": str(1 if soon else wait)}
        raise stopped(429, "temporarily_unavailable", why, rule, **headers)
    window.count(key)


# ── rules ─────────────────────────────────────────────────────────────────────


def own_host(asked: Asked, door: "Door") -> None:
    """A page whose name was made to point at this computer still sends its own name: RFC 9110 §7.4."""
    hosts = asked.all(b"host")
    if len(hosts) != 1 or hosts[0].lower() not in door.hosts:
        why = f"This server is {door.settings.origin}: ask for it by that name."
        raise stopped(421, "invalid_request", why, "own_host")


def own_origin(asked: Asked, door: "Door") -> None:
    """No other website's page may talk to us, but those that the settings name."""
    for origin in asked.all(b"origin"):
        if origin not in door.origins:
            raise stopped(403, "invalid_request", "Pages of other websites may not send requests here.", "own_origin")


REQUEST_RULES = (own_host, own_origin)


def not_too_often(asked: Asked, door: "Door") -> None:
    """OAuth 2.1 §7.7: nobody guesses for long. It counts before it is judged: a thousand at once come all too early."""
    at_most(door.failures, asked.address, "not_too_often", soon=asked.address in door.undecided.times)


GUESS_RULES = (not_too_often,)


def no_token_inside(asked: Asked, door: "Door") -> None:
    if "access_token" in asked.message:  # OAuth 2.1 §5.1: one token, in one place
        raise door.refusals.bad_request("The token stands in the header, and only there")


def method_as_announced(asked: Asked, door: "Door") -> None:
    for announced in asked.all(b"mcp-method"):
        if announced.decode("latin-1") != asked.message.get("method"):
            raise contradiction(asked.message)


def name_as_announced(asked: Asked, door: "Door") -> None:
    for announced in asked.all(b"mcp-name") if asked.name else ():
        if decode_header_value(announced.decode("latin-1")) != asked.name:
            raise contradiction(asked.message)


def enough_scope(asked: Asked, door: "Door") -> None:
    wanted = door.needs.of(asked.subjects)
    if not allowed(asked.user.scopes, wanted):
        raise door.refusals.too_little(wanted)


MESSAGE_RULES = (no_token_inside, method_as_announced, name_as_announced, enough_scope)

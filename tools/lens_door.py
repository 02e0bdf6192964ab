"""Where a token is to be tried: the issuer's keys and the time there, and what the MCP server itself says of it."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2

from shared.addresses import ISSUER, LOOPBACK_HOSTS, RESOURCE
from shared.shortening import shown_header, without_tokens
from tools import lens_served

PATIENCE = 3  # seconds
NEWEST = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": NEWEST,
    "io.modelcontextprotocol/clientInfo": {"name": "lens", "version": "0"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}
MCP_HEADERS = {
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": NEWEST,
    "Mcp-Method": "tools/list",
}


@dataclass
class Door:
    """Where the token is to be tried: for this issuer, at this resource."""

    issuer: str
    resource: str
    metadata_url: str = ""  # where the issuer's metadata is, if it answers
    found: str = ""  # a sentence: who answers
    leeway: int = lens_served.USUAL_LEEWAY  # seconds that two clocks may differ
    ahead: int = 0  # seconds by which the servers' clock is ahead of this computer's
    odd: list[str] = field(default_factory=list)  # sentences: what of these two is not as usual


async def find_issuer(http: httpx2.AsyncClient, door: Door) -> None:
    """Where the metadata is that names the keys: RFC 8414 §3.1, and OpenID Connect's two places after it."""
    door.found = f"Offline: no authorization server answers at {door.issuer}."
    for url in metadata_urls(door.issuer):
        try:
            answer = await http.get(url)
        except (httpx2.HTTPError, httpx2.InvalidURL):
            return
        with contextlib.suppress(ValueError, RecursionError):
            if answer.status_code == 200 and isinstance(answer.json(), dict):
                door.metadata_url, door.ahead = url, lens_served.ahead_of(answer, time.time())
                door.found = f"The keys are those that {door.issuer} shows now."
                return
        door.ahead = lens_served.ahead_of(answer, time.time())
        door.found = f"Somebody answers at {door.issuer}, but shows no metadata of an authorization server."


async def find_time(http: httpx2.AsyncClient, door: Door) -> None:
    """What time it is for the MCP server, or else the issuer; and how far clocks may differ, if we serve them."""
    with contextlib.suppress(httpx2.HTTPError, httpx2.InvalidURL):
        door.ahead = lens_served.ahead_of(await http.get(about(door.resource)), time.time())
    if door.ahead:
        way = "ahead of" if door.ahead > 0 else "behind"
        door.odd.append(f"The servers' clock is {abs(door.ahead)} seconds {way} this computer's, and counts here.")
    served = lens_served.told() if (door.issuer, door.resource) == (ISSUER, RESOURCE) else None
    if served and door.metadata_url and served[1] != door.leeway:
        door.leeway = served[1]
        door.odd.append(f"LEEWAY is {door.leeway} seconds for the servers of step {served[0]} that run.")


def metadata_urls(issuer: str) -> list[str]:
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    urls = [f"{origin}/.well-known/{name}{path}" for name in ("oauth-authorization-server", "openid-configuration")]
    return urls + [f"{origin}{path}/.well-known/openid-configuration"] * bool(path)


def at_the_door(raw: str, door: Door) -> Iterator[str]:
    """What the MCP server itself answers, asked with this token for its tools. A stranger does not get the token."""
    parts = urlsplit(door.resource)
    if parts.scheme != "https" and parts.hostname not in ("localhost", *LOOPBACK_HOSTS):
        yield "The MCP server is not asked: a token goes over https, or does not leave this computer."
        return
    try:
        with httpx2.Client(timeout=PATIENCE) as http:
            if not says_it_is(http, door.resource):
                yield f"Who answers at {door.resource} does not say that it is this resource: it is not asked."
                return
            headers = MCP_HEADERS | {"Authorization": f"Bearer {raw}"}
            answer = http.post(door.resource, json=LIST_TOOLS, headers=headers)
    except (httpx2.HTTPError, httpx2.InvalidURL):
        yield f"Offline: no MCP server answers at {door.resource}."
        return
    yield f"Asked for its tools, {door.resource} says {answer.status_code} {answer.reason_phrase}."
    for challenge in answer.headers.get_list("www-authenticate"):
        yield f"  www-authenticate: {without_tokens(shown_header('www-authenticate', challenge))}"


def says_it_is(http: httpx2.Client, resource: str) -> bool:
    """RFC 9728 §3.3: its metadata names this very resource."""
    with contextlib.suppress(ValueError, RecursionError, AttributeError):
        return http.get(about(resource)).json().get("resource") == resource
    return False


def about(resource: str) -> str:
    """Where the metadata of a resource is: RFC 9728 §3.1."""
    parts = urlsplit(resource)
    return f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{parts.path.rstrip('/')}"

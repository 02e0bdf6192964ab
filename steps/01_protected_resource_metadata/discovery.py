"""Step 01 · a locked door that says where the key is.

Discovery: from the address of an MCP server to whoever makes tokens for it, by asking.
"""

import re
from urllib.parse import SplitResult, urlsplit

import httpx2

from shared.console import Stop, say, show

# ── what we remember ──────────────────────────────────────────────────────────

MCP = "io.modelcontextprotocol"
VERSION = "2026-07-28"
HEADERS = {"MCP-Protocol-Version": VERSION}
META = {f"{MCP}/protocolVersion": VERSION, f"{MCP}/clientCapabilities": {}}
LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}

# ── rules ─────────────────────────────────────────────────────────────────────


def describes_this_resource(metadata: dict, resource: str) -> None:
    if metadata.get("resource") != resource:
        raise Stop(f"The metadata is about {metadata.get('resource')!r}, not {resource}.")  # RFC 9728 §3.3


def names_authorization_servers(metadata: dict, resource: str) -> None:
    servers = metadata.get("authorization_servers")
    if not isinstance(servers, list) or not servers or not isinstance(servers[0], str):
        raise Stop("The metadata names no authorization server, and we do not guess one.")


RESOURCE_METADATA_RULES = (
    describes_this_resource,
    names_authorization_servers,
)

# ── requests ──────────────────────────────────────────────────────────────────

CHALLENGE_PART = re.compile(
    r"""
    (?P<name>[^\s,="]+) \s*=\s* (?: "(?P<quoted>(?:[^"\\]|\\.)*)" | (?P<plain>[^\s,"]+) )
    | (?P<scheme>[^\s,="]+)
    """,
    re.VERBOSE,
)


def bearer_challenge(answer: httpx2.Response) -> dict[str, str]:
    """The parameters of the Bearer challenge, whichever challenges stand beside it: RFC 9110 §11.6.1."""
    challenges: dict[str, dict[str, str]] = {}
    for header in answer.headers.get_list("www-authenticate"):
        parameters: dict[str, str] = {}
        for part in CHALLENGE_PART.finditer(header):
            if part["scheme"]:
                parameters = challenges.setdefault(part["scheme"].lower(), {})
            else:
                parameters[part["name"].lower()] = part["plain"] or re.sub(r"\\(.)", r"\1", part["quoted"])
    return challenges.get("bearer", {})


def resource_metadata_urls(resource: str) -> list[str]:
    """Between host and path, and then without the path: RFC 9728 §3.1."""
    parts = parts_of(resource)
    root = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource"
    query = f"?{parts.query}" if parts.query else ""
    return list(dict.fromkeys([root + parts.path.rstrip("/") + query, root]))


def parts_of(url: str) -> SplitResult:
    """Others tell us where to go, and may send us what is no address at all."""
    try:
        if url.isprintable():
            return urlsplit(url)
    except ValueError:
        pass
    raise Stop(f"{url!r} is not an address that can be asked.")


def json_object(answer: httpx2.Response) -> dict:
    """What the server sent; empty if that is not a JSON object."""
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def first_document(http: httpx2.Client, urls: list[str]) -> dict:
    for url in urls:
        answer = http.get(url, headers=HEADERS)
        show(answer)
        if answer.status_code == 404:
            continue
        document = json_object(answer)
        if answer.status_code != 200 or not document:
            raise Stop(f"{url} should be a JSON document, and is not.")  # RFC 9728 §3.2, RFC 8414 §3.2
        return document
    raise Stop(f"There is no metadata at {' nor at '.join(urls)}.")


def find_resource(http: httpx2.Client, resource: str) -> tuple[dict, dict[str, str]]:
    say("Ask for the tools, without a token", "A good no says where to go next. RFC 9728 §5.1")
    answer = http.post(resource, json=LIST_TOOLS, headers=HEADERS | {"Mcp-Method": "tools/list"})
    show(answer)
    if answer.status_code != 401:
        raise Stop(f"{resource} is not protected: it answered {answer.status_code}.")
    challenge = bearer_challenge(answer)
    say("Read the metadata of the MCP server", "It names the authorization servers. RFC 9728 §3.1")
    named = challenge.get("resource_metadata")
    metadata = first_document(http, [named] if named else resource_metadata_urls(resource))
    for rule in RESOURCE_METADATA_RULES:
        rule(metadata, resource)
    return metadata, challenge

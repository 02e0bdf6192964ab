"""Step 07 · what a patient attacker tries next, and why it does not work.

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


def check_address(url: object) -> None:
    """OAuth 2.1 §1.5: https, or http to this computer, where the workshop runs; no other address of theirs."""
    parts = parts_of(str(url))
    here = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not here and (parts.scheme != "https" or not parts.hostname):
        raise Stop(f"We do not go to {url!r}: it is neither https nor on this computer.")


def same_issuer(metadata: dict, issuer: str) -> None:
    if metadata.get("issuer") != issuer:
        raise Stop(f"We asked {issuer}, and {metadata.get('issuer')!r} answered.")  # RFC 8414 §3.3


def offers_s256(metadata: dict, issuer: str) -> None:
    methods = metadata.get("code_challenge_methods_supported")
    if not isinstance(methods, list) or "S256" not in methods:
        raise Stop(f"{issuer} does not offer PKCE with S256, so we do not start.")  # OAuth 2.1 §7.5.2


def names_endpoints(metadata: dict, issuer: str) -> None:
    for name in ("authorization_endpoint", "token_endpoint"):
        if not isinstance(metadata.get(name), str):
            raise Stop(f"{issuer} does not say where its {name} is.")  # RFC 8414 §2
    for name in metadata:
        if name.endswith("_endpoint"):
            parts_of(str(metadata[name]))


def safe_endpoints(metadata: dict, issuer: str) -> None:
    for name, url in metadata.items():
        if name.endswith("_endpoint"):
            check_address(url)


SERVER_METADATA_RULES = (
    same_issuer,
    offers_s256,
    names_endpoints,
    safe_endpoints,
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


def server_metadata_urls(issuer: str) -> list[str]:
    """OAuth's place, then OpenID Connect's two: RFC 8414 §5."""
    parts = parts_of(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    return [
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}/.well-known/openid-configuration{path}",
        *([f"{origin}{path}/.well-known/openid-configuration"] if path else []),
    ]


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
        check_address(url)
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


def find_server(http: httpx2.Client, issuer: str) -> dict:
    say("Read the metadata of the authorization server", "It says where, and how. RFC 8414 §3.1")
    metadata = first_document(http, server_metadata_urls(issuer))
    for rule in SERVER_METADATA_RULES:
        rule(metadata, issuer)
    return metadata

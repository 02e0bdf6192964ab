"""Step 03 · a client nobody knew a second ago gets a name, on the server's terms.

The client: it knows the address of one MCP server and finds out everything else by asking.
"""

import re
from urllib.parse import urlsplit

import httpx2

from shared.addresses import RESOURCE
from shared.console import Stop, learned, run, say, show

# ── what we remember ──────────────────────────────────────────────────────────

MCP = "io.modelcontextprotocol"
VERSION = "2026-07-28"
HEADERS = {"MCP-Protocol-Version": VERSION}
META = {f"{MCP}/protocolVersion": VERSION, f"{MCP}/clientCapabilities": {}}
LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}

ABOUT_US = {
    "client_name": "Workshop client",
    "application_type": "native",
    "redirect_uris": ["http://127.0.0.1/callback"],  # the port is chosen at run time: RFC 8252 §7.3
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}
registrations: dict[str, dict] = {}  # by issuer: a client_id means nothing to any other server

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


SERVER_METADATA_RULES = (
    same_issuer,
    offers_s256,
    names_endpoints,
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
    parts = urlsplit(resource)
    root = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource"
    query = f"?{parts.query}" if parts.query else ""
    return list(dict.fromkeys([root + parts.path.rstrip("/") + query, root]))


def server_metadata_urls(issuer: str) -> list[str]:
    """OAuth's place, then OpenID Connect's two: RFC 8414 §5."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    return [
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}/.well-known/openid-configuration{path}",
        *([f"{origin}{path}/.well-known/openid-configuration"] if path else []),
    ]


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


def find_server(http: httpx2.Client, issuer: str) -> dict:
    say("Read the metadata of the authorization server", "It says where, and how. RFC 8414 §3.1")
    metadata = first_document(http, server_metadata_urls(issuer))
    for rule in SERVER_METADATA_RULES:
        rule(metadata, issuer)
    return metadata


def register(http: httpx2.Client, server: dict) -> dict:
    if server["issuer"] in registrations:
        return registrations[server["issuer"]]
    if not isinstance(server.get("registration_endpoint"), str):
        raise Stop(f"{server['issuer']} offers no dynamic registration, and has given us no client_id.")
    say("Register", "The server has never heard of us; now it gives us a name. RFC 7591 §3.1")
    answer = http.post(server["registration_endpoint"], json=ABOUT_US)
    show(answer)
    client = json_object(answer)
    if answer.status_code != 201 or not isinstance(client.get("client_id"), str):
        why = client.get("error_description") or client.get("error") or answer.status_code
        raise Stop(f"The authorization server does not register us: {why!r}.")  # RFC 7591 §3.2.2
    registrations[server["issuer"]] = client
    return client


# ── what must not work ────────────────────────────────────────────────────────


def refused_registration(http: httpx2.Client, server: dict, what: str, redirect_uri: str) -> None:
    say(what, "Nobody should be sent there, not even with an error. RFC 9700 §2.6, §4.1.3")
    answer = http.post(server["registration_endpoint"], json=ABOUT_US | {"redirect_uris": [redirect_uri]})
    show(answer)
    if answer.status_code != 400:
        raise Stop(f"This redirect_uri must not be registered, and it was: {answer.status_code}.")


# ── the walk ──────────────────────────────────────────────────────────────────


def main() -> None:
    with httpx2.Client(timeout=10) as http:
        metadata, challenge = find_resource(http, RESOURCE)
        issuer = metadata["authorization_servers"][0]
        server = find_server(http, issuer)
        client = register(http, server)
        refused_registration(http, server, "Register an address without https", "http://app.example/cb")
        refused_registration(http, server, "Register an address with a wildcard", "https://*.app.example/cb")
    learned(
        f"{server['issuer']} calls us {client['client_id']}",
        f"the user's answer may only go to {ABOUT_US['redirect_uris'][0]}, on any port",
        f"we may ask for: {client.get('scope')}",
    )


if __name__ == "__main__":
    run(main)

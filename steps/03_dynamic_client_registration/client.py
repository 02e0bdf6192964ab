"""Step 03 · a client nobody knew a second ago gets a name, on the server's terms.

The client: it knows the address of one MCP server and finds out everything else by asking.
"""

import httpx2

from shared.addresses import RESOURCE
from shared.console import Stop, learned, run, say, show

from .discovery import (
    find_resource,
    find_server,
    json_object,
)

# ── what we remember ──────────────────────────────────────────────────────────

ABOUT_US = {
    "client_name": "Workshop client",
    "application_type": "native",
    "redirect_uris": ["http://127.0.0.1/callback"],  # the port is chosen at run time: RFC 8252 §7.3
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}
registrations: dict[str, dict] = {}  # by issuer: a client_id means nothing to any other server

# ── requests ──────────────────────────────────────────────────────────────────


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

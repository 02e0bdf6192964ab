"""Step 08 · no person, same door: a machine proves itself, and the door does not change.

The machine: no browser, no person, no consent. It holds credentials that an operator has arranged.
"""

import base64
import secrets
import time
from urllib.parse import quote_plus

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.addresses import ISSUER, RESOURCE, secret_from_environment
from shared.console import Stop, learned, note, run, say, show, show_token

from .discovery import (
    HEADERS,
    LIST_TOOLS,
    META,
    find_resource,
    find_server,
    json_object,
)

# ── what we remember ──────────────────────────────────────────────────────────

OUR_ISSUER = ISSUER  # whom our credentials belong to; no MCP server tells us otherwise
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EXTENSION = {"io.modelcontextprotocol/oauth-client-credentials": {}}
ABOUT_US = {
    "client_name": "Nightly report",
    "grant_types": ["client_credentials"],
    "scope": "mcp:tools:sentiment",
}
INITIAL_ACCESS_TOKEN = secret_from_environment("INITIAL_ACCESS_TOKEN")  # the operator's, not the machine's
key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

# ── rules ─────────────────────────────────────────────────────────────────────


def our_issuer(issuer: str) -> None:
    if issuer != OUR_ISSUER:
        raise Stop(f"The MCP server sends us to {issuer}. Our credentials are for {OUR_ISSUER} alone.")


ISSUER_RULES = (
    our_issuer,
)

# ── requests ──────────────────────────────────────────────────────────────────


def registered_by_the_operator(http: httpx2.Client, server: dict, **method: object) -> dict:
    what = f"The operator registers a machine for {method['token_endpoint_auth_method']}"
    say(what, "Long before it runs, with a token of the operator's own. RFC 7591 §3")
    headers = {"Authorization": f"Bearer {INITIAL_ACCESS_TOKEN}"}
    answer = http.post(server["registration_endpoint"], json=ABOUT_US | method, headers=headers)
    show(answer)
    if answer.status_code != 201:
        why = json_object(answer).get("error_description", answer.status_code)
        raise Stop(f"The authorization server does not register the machine: {why!r}.")
    return answer.json()


def by_basic(client: dict) -> tuple[dict, dict]:
    """Form-encoded first, then joined, then base64: RFC 6749 §2.3.1."""
    both = f"{quote_plus(client['client_id'])}:{quote_plus(client['client_secret'])}"
    return {"Authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}, {}


def by_post(client: dict) -> tuple[dict, dict]:
    return {}, {"client_id": client["client_id"], "client_secret": client["client_secret"]}


def by_private_key(client: dict) -> tuple[dict, dict]:
    """A sentence about ourselves, signed, for one reader, once: RFC 7523 §3."""
    now = int(time.time())
    claims = {
        "iss": client["client_id"],
        "sub": client["client_id"],
        "aud": OUR_ISSUER,  # the only reader; a server that got hold of it could not use it elsewhere
        "jti": secrets.token_urlsafe(16),
        "iat": now,
        "exp": now + 60,
    }
    assertion = jwt.encode(claims, key, "RS256", {"typ": "client-authentication+jwt", "kid": "k-1"})
    return {}, {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}


METHODS = {
    "client_secret_basic": by_basic,
    "client_secret_post": by_post,
    "private_key_jwt": by_private_key,
}


def public_half() -> dict:
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {"kty": "RSA", "kid": "k-1", "alg": "RS256", "use": "sig", "n": public["n"], "e": public["e"]}


def ask_for_token(http: httpx2.Client, server: dict, proof: tuple[dict, dict], **ask: str) -> httpx2.Response:
    headers, form = proof
    form = {"grant_type": "client_credentials", "resource": RESOURCE} | ask | form
    answer = http.post(server["token_endpoint"], data=form, headers=headers)
    show(answer)
    return answer


def call_tool(http: httpx2.Client, access_token: str) -> None:
    say("Call a tool", "The door checks what it has always checked. RFC 9068 §4")
    arguments = {"headline": "ACME profit beats forecasts, shares soar"}
    meta = META | {"io.modelcontextprotocol/clientCapabilities": {"extensions": EXTENSION}}
    params = {"name": "score_headline", "arguments": arguments, "_meta": meta}
    names = {"Mcp-Method": "tools/call", "Mcp-Name": "score_headline"}
    headers = HEADERS | names | {"Authorization": f"Bearer {access_token}"}
    answer = http.post(RESOURCE, json=LIST_TOOLS | {"method": "tools/call", "params": params}, headers=headers)
    show(answer)
    if answer.status_code != 200:
        raise Stop(f"The MCP server does not let the machine in: {answer.status_code}.")


# ── what must not work ────────────────────────────────────────────────────────


def refused(answer: httpx2.Response, error: str) -> None:
    if json_object(answer).get("error") != error:
        raise Stop(f"This should be refused with {error}, and got {answer.status_code}.")


def what_must_not_work(http: httpx2.Client, server: dict, client: dict) -> None:
    say("Send the same assertion twice", "Whoever has overheard it comes too late. RFC 7523 §3")
    proof = by_private_key(client)
    ask_for_token(http, server, proof)
    refused(ask_for_token(http, server, proof), "invalid_client")
    say("Ask for more than was registered", "The operator has decided that, not the machine. OAuth 2.1 §3.2.4")
    too_much = "mcp:exec:workflows:rebalance"
    refused(ask_for_token(http, server, by_private_key(client), scope=too_much), "invalid_scope")
    say("Register for oneself, without the operator", "Only a program that acts for a person may. RFC 7591 §3")
    answer = http.post(server["registration_endpoint"], json=ABOUT_US)
    show(answer)
    refused(answer, "invalid_client_metadata")


# ── the walk ──────────────────────────────────────────────────────────────────


def main() -> None:
    with httpx2.Client(timeout=10) as http:
        metadata, _ = find_resource(http, RESOURCE)
        issuer = metadata["authorization_servers"][0]
        for rule in ISSUER_RULES:
            rule(issuer)
        server = find_server(http, issuer)
        for method, proof in METHODS.items():
            keys = {"jwks": {"keys": [public_half()]}} if method == "private_key_jwt" else {}
            client = registered_by_the_operator(http, server, token_endpoint_auth_method=method, **keys)
            say(f"Ask for a token: {method}", "Nobody is sent anywhere. OAuth 2.1 §4.2")
            answer = ask_for_token(http, server, proof(client))
            tokens = json_object(answer)
            if answer.status_code != 200 or "access_token" not in tokens:
                raise Stop(f"The authorization server gives no token: {tokens.get('error', answer.status_code)!r}.")
            call_tool(http, tokens["access_token"])
        show_token(tokens["access_token"])
        note("sub and client_id are the same: nobody stands behind it. No refresh token: it can just ask again.")
        what_must_not_work(http, server, client)
    learned(
        "a machine proves itself with a secret or, better, with a key that never leaves it",
        "it is registered by somebody who may, and asks only whom its credentials belong to",
        "the MCP server has not changed by one line: a token is a token",
    )


if __name__ == "__main__":
    run(main)

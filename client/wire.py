"""How things look on the wire: what is asked of us, JSON answers, and texts of strangers."""

import base64
import contextlib
import json
from urllib.parse import parse_qsl, quote, quote_plus, unquote

import httpx2
from mcp.client.auth.utils import extract_field_from_www_auth
from pydantic import BaseModel

from shared.stop import Stop

MOST = 1_000_000  # bytes
SECRETS = ("code", "code_verifier", "client_secret", "client_assertion", "refresh_token", "token")


def asks_for_more(answer: httpx2.Response) -> bool:
    """Whether this no says what to do about it: 401, or 403 for a scope. OAuth 2.1 §5.3.2"""
    if answer.status_code == 403:
        return extract_field_from_www_auth(answer, "error") == "insufficient_scope"
    return answer.status_code == 401


def operation_of(request: httpx2.Request) -> str:
    """What a request wants of the MCP server, as `method name`, like `tools/call rebalance`."""
    message = json_object(request.content)
    params = message.get("params") or {}
    return " ".join(filter(None, (message.get("method"), params.get("name") or params.get("uri"))))


def default_metadata(origin: str) -> dict:
    """What a server of 2025-03-26 at this origin means if it publishes nothing. PKCE was required then already."""
    return {
        "issuer": origin,
        "authorization_endpoint": f"{origin}/authorize",
        "token_endpoint": f"{origin}/token",
        "registration_endpoint": f"{origin}/register",
        "code_challenge_methods_supported": ["S256"],
    }


def json_object(text: bytes | str) -> dict:
    """The JSON object in this text; empty if there is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


async def read_all(answer: httpx2.Response) -> None:
    """Its body, unpacked, as long as that stays small. Raises `Stop` if not."""
    body = bytearray()
    try:
        async for part in answer.aiter_bytes():
            body += part
            if len(body) > MOST:
                raise Stop(f"{answer.url.host} answers {answer.url.path} with more than {MOST} bytes.")
    finally:
        await answer.aclose()
    answer._content = bytes(body)


def check_form(model: type[BaseModel], reply: httpx2.Response, what: str) -> None:
    """Raises `Stop` where the SDK would look elsewhere, or repeat in its error what was sent, secrets too."""
    try:
        model.model_validate_json(reply.content)
    except ValueError:
        raise Stop(f"{what} in a way that cannot be used.") from None


def why_not(step: httpx2.Request, reply: httpx2.Response) -> str:
    """What an OAuth error says, for a person, without any secret that we sent and that it may repeat."""
    said = json_object(reply.content)
    why = str(said.get("error_description") or said.get("error") or f"{reply.status_code} {reply.reason_phrase}")
    for secret in sorted(secrets_in(step), key=len, reverse=True):
        why = why.replace(secret, "…")
    return readable(why)


def secrets_in(step: httpx2.Request) -> set[str]:
    """What is secret in a request, as it went and as it was meant."""
    form, credentials = dict(parse_qsl(step.content.decode())), step.headers.get("Authorization", "").split()[1:]
    found = {form.get(name, "") for name in SECRETS}.union(credentials)
    for pair in credentials:
        with contextlib.suppress(ValueError):  # a Bearer token is no Base64 of a client_id and a secret
            found.add(unquote(base64.b64decode(pair).decode().partition(":")[2]))  # RFC 6749 §2.3.1
    return {text for one in found if one for text in (one, quote(one, ""), quote_plus(one))}


def readable(said: object, longest: int = 300) -> str:
    """A text of strangers on one line: it may not move the cursor, colour the screen, or fill it."""
    text = "".join(c if c.isprintable() else " " for c in str(said))
    return text if len(text) <= longest else text[:longest] + "…"

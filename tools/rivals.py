"""What the finished programs are compared with: what the SDK offers, used as its documentation and examples use it."""

import html
import json
import secrets
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from mcp.server import MCPServer
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    AuthorizeError,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

LIFETIME, CODE_LIFETIME = 600, 60  # seconds
SCOPES = ["mcp:tools:sentiment", "mcp:resources:customer-data:read", "mcp:exec:workflows:rebalance"]
USERS = {"alice": "wonderland"}

# ── a verifier ────────────────────────────────────────────────────────────────


class PlainVerifier:
    """What the SDK asks an adopter to write: PyJWT, for every call anew. It has the keys already and never asks."""

    def __init__(self, issuer: str, audience: str, keys: dict):
        self.issuer, self.audience = issuer, audience
        self.keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(keys).keys}

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            key = self.keys[jwt.get_unverified_header(token)["kid"]]
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self.issuer,
                audience=self.audience,
                options={"require": ["exp", "iat", "sub", "client_id"]},
            )
        except (jwt.PyJWTError, KeyError):
            return None
        return AccessToken(
            token=token,
            client_id=claims["client_id"],
            scopes=claims["scope"].split(),
            expires_at=claims["exp"],
            subject=claims["sub"],
            claims=claims,
        )


def server_with_verifier(issuer: str, audience: str, keys: str, scope: str) -> MCPServer:
    """An MCP server behind the SDK's own middleware. `keys`: a JSON Web Key Set, as JSON."""
    return MCPServer(
        "sums",
        log_level="WARNING",
        token_verifier=PlainVerifier(issuer, audience, json.loads(keys)),
        auth=AuthSettings(
            issuer_url=issuer,
            resource_server_url=audience,
            required_scopes=[scope],
            validate_token_resource=False,  # the verifier has checked the audience
        ),
    )


# ── an authorization server ───────────────────────────────────────────────────


class InMemory(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """As the SDK's examples have it, with two things more: ES256 JWTs in place of random tokens, and a session.

    What it does less than ours: nothing survives its end, nothing is ever deleted; codes lie there in clear; the page
    is bound to no browser and has no headers of its own; redirect_uri is compared without the loopback port rule;
    there is no audit, no metric, no limit; a code that is used twice ends nothing.
    """

    def __init__(self, issuer: str, resource: str):
        self.issuer, self.resource = issuer, resource
        self.key, self.kid = ec.generate_private_key(ec.SECP256R1()), secrets.token_urlsafe(8)
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.waiting: dict[str, tuple[str, AuthorizationParams]] = {}  # by the name that the page has
        self.codes: dict[str, AuthorizationCode] = {}
        self.sessions: dict[str, str] = {}

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        """The SDK's handler can only redirect: so the page is one request more than ours takes."""
        if params.resource != self.resource:
            raise AuthorizeError("invalid_target", "we make no tokens for this resource")
        name = secrets.token_urlsafe(16)
        self.waiting[name] = (client.client_id, params)
        return f"{self.issuer}/consent?request={name}"

    def allowed(self, name: str, username: str) -> str | None:
        """The way home, with a code; None if that page was answered already."""
        client_id, params = self.waiting.pop(name, (None, None))
        if params is None:
            return None
        code = secrets.token_urlsafe(32)
        self.codes[code] = AuthorizationCode(
            code=code,
            client_id=client_id,
            scopes=params.scopes or [],
            expires_at=time.time() + CODE_LIFETIME,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
            subject=username,
        )
        return construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state, iss=self.issuer)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[authorization_code.code]
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": authorization_code.resource,
            "sub": authorization_code.subject,
            "client_id": client.client_id,
            "scope": " ".join(authorization_code.scopes),
            "iat": now,
            "exp": now + LIFETIME,
            "jti": secrets.token_urlsafe(16),
        }
        token = jwt.encode(claims, self.key, "ES256", headers={"kid": self.kid, "typ": "at+jwt"})
        return OAuthToken(access_token=token, token_type="Bearer", expires_in=LIFETIME, scope=claims["scope"])


PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Consent</title></head><body>
<h1>{client} wants to use {resource} for you, {username}</h1><form method="post" action="/consent">
<input type="hidden" name="request" value="{name}">{boxes}
<button name="decision" value="allow">Allow</button><button name="decision" value="deny">Deny</button>
</form></body></html>"""
BOX = '<label><input type="checkbox" name="scope" value="{0}" checked>{0}</label>'


def auth_app(issuer: str, resource: str) -> Starlette:
    """The SDK's routes and, as in its examples, a login and a consent page beside them."""
    provider = InMemory(issuer, resource)

    async def login(request: Request) -> Response:
        form = await request.form()
        if USERS.get(form.get("username", "")) != form.get("password"):
            return HTMLResponse("no", 403)
        session = secrets.token_urlsafe(32)
        provider.sessions[session] = form["username"]
        answer = RedirectResponse("/", 303)
        answer.set_cookie("session", session, httponly=True, samesite="lax")
        return answer

    async def consent(request: Request) -> Response:
        if (username := provider.sessions.get(request.cookies.get("session", ""))) is None:
            return HTMLResponse("sign in first", 403)
        if request.method == "POST":
            form = await request.form()
            home = provider.allowed(form.get("request", ""), username) if form.get("decision") == "allow" else None
            return RedirectResponse(home, 303) if home else HTMLResponse("no", 400)
        name = request.query_params.get("request", "")
        if name not in provider.waiting:
            return HTMLResponse("there is no such request", 400)
        client_id, params = provider.waiting[name]
        about = {"client": provider.clients[client_id].client_name or client_id, "resource": resource}
        about |= {"username": username, "name": name}
        boxes = "".join(BOX.format(html.escape(scope)) for scope in params.scopes or [])
        return HTMLResponse(PAGE.format(boxes=boxes, **{key: html.escape(value) for key, value in about.items()}))

    registration = ClientRegistrationOptions(enabled=True, valid_scopes=SCOPES, default_scopes=SCOPES[:2])
    own = [Route("/login", login, methods=["POST"]), Route("/consent", consent, methods=["GET", "POST"])]
    return Starlette(routes=[*create_auth_routes(provider, AnyHttpUrl(issuer), None, registration), *own])

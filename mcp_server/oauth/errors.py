"""How the server says no: one exception, and one place where it becomes HTTP."""

import json

from starlette.responses import Response

from .config import Settings

NO_STORE = {"Cache-Control": "no-store"}
RETRY_AFTER = 1  # seconds, while the authorization server does not answer


class Refused(Exception):
    """A request that stays outside. `reason` and `rule` are for audit trail and metrics: the client gets neither."""

    def __init__(self, status: int, reason: str, headers: dict[str, str], body: dict | None = None, rule: str = ""):
        super().__init__(reason)
        self.status, self.reason, self.headers, self.body, self.rule = status, reason, headers, body, rule


def refuse(no: Refused) -> Response:
    """The one place where a no becomes HTTP."""
    body = "" if no.body is None else json.dumps(no.body)
    return Response(body, no.status, NO_STORE | no.headers, "application/json" if body else None)


class Refusals:
    """The answers that challenge: they name this server's metadata, so that a client can help itself: RFC 9728 §5.1."""

    def __init__(self, settings: Settings):
        self.scopes = " ".join(settings.required_scopes)
        self.scheme = "Bearer" if settings.oauth else "ApiKey"
        self.metadata = settings.origin + settings.metadata_paths[0] if settings.oauth else ""

    def challenge(self, status: int, reason: str, rule: str = "", **parameters: str) -> Refused:
        """OAuth 2.1 §5.3.1: one challenge, in one line."""
        pairs = [f'{name}="{value}"' for name, value in {"realm": "mcp", **parameters}.items() if value]
        return Refused(status, reason, {"WWW-Authenticate": f"{self.scheme} {', '.join(pairs)}"}, rule=rule)

    def no_token(self, reason: str = "no token") -> Refused:
        """Nothing was wrong, so no error is named: OAuth 2.1 §5.3.2."""
        return self.challenge(401, reason, resource_metadata=self.metadata, scope=self.scopes)

    def bad_token(self, rule: str) -> Refused:
        """One sentence for every reason: whoever tries out tokens learns nothing from it."""
        about = {"error": "invalid_token", "error_description": "The access token is invalid or expired"}
        return self.challenge(401, "invalid_token", rule, **about, resource_metadata=self.metadata)

    def bad_request(self, why: str) -> Refused:
        about = {"error": "invalid_request", "error_description": why}
        return self.challenge(400, "invalid_request", **about, resource_metadata=self.metadata)

    def too_little(self, scopes: tuple[str, ...]) -> Refused:
        """OAuth 2.1 §5.3.2. All scopes of the operation at once, so that one more consent is enough."""
        about = {"error": "insufficient_scope", "scope": " ".join(scopes), "resource_metadata": self.metadata}
        about["error_description"] = "This operation needs more than the token allows"
        return self.challenge(403, "insufficient_scope", **about)


def stopped(status: int, error: str, why: str, rule: str = "", **headers: str) -> Refused:
    """What no other token would help: another server's name, too much, too large, nobody who could judge."""
    return Refused(status, error, headers, {"error": error, "error_description": why}, rule)


def unavailable() -> Refused:
    """Whoever could say whether this token is good does not answer: the token is not to blame."""
    why = "The authorization server does not answer us; your token may be fine, so try again soon"
    return stopped(503, "temporarily_unavailable", why, **{"Retry-After": str(RETRY_AFTER)})


def contradiction(message: dict) -> Refused:
    """The headers announce something else than the body does (MCP 2026-07-28, transports)."""
    error = {"code": -32020, "message": "Mcp-Method or Mcp-Name announces something else than the body"}
    return Refused(400, "header_mismatch", {}, {"jsonrpc": "2.0", "id": message.get("id"), "error": error})

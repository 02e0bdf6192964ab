"""The one place where a no becomes HTTP."""

import logging

from sqlalchemy.exc import OperationalError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.audit import write_down
from shared.bodies import BadBody

from .context import OAuthError, Stopped, server_of
from .rendering import page

PAGES = ("/authorize", "/login", "/consent", "/account", "/account/withdraw", "/logout")  # where a no is a page


def refuse(request: Request, no: OAuthError | BadBody) -> Response:
    """JSON for a program (RFC 6749 §5.2); for a person, who is sent nowhere, a page: OAuth 2.1 §4.1.2.1."""
    server, by_a_person = server_of(request), True
    write_down(reason=no.error if isinstance(no, Stopped) else f"{no.error}: {no.why}")
    server.metrics.refused(no.error).inc()
    if isinstance(no, Stopped):
        by_a_person = "text/html" in request.headers.get("accept", "")
    if by_a_person and request.url.path.removeprefix(server.settings.path) in PAGES:
        answer = page(server.settings, "refusal.html", no.status, error=no.error, why=no.why)
    else:
        answer = JSONResponse({"error": no.error, "error_description": no.why}, no.status)
    if no.error == "invalid_token":
        answer.headers["WWW-Authenticate"] = 'Bearer realm="register", error="invalid_token"'  # RFC 6750 §3.1
    elif no.status == 401 and "authorization" in request.headers:
        answer.headers["WWW-Authenticate"] = 'Basic realm="token"'  # OAuth 2.1 §3.2.4
    if retry_after := getattr(no, "retry_after", 0):
        answer.headers["Retry-After"] = str(retry_after)  # RFC 9110 §10.2.3
    return answer


def database_is_away(request: Request, problem: OperationalError) -> Response:
    """Nothing has happened, and whoever asks again later may find it back: RFC 7009 §2.2.1."""
    logging.getLogger("auth_server").error("database: %s", problem.orig)
    return refuse(request, OAuthError("temporarily_unavailable", "The database does not answer.", 503, 5))


HANDLERS = {OAuthError: refuse, BadBody: refuse, OperationalError: database_is_away}

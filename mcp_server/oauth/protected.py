"""The five lines of an adopter: a server, and what protects it."""

import contextlib
import hmac
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from mcp.server import MCPServer
from mcp.server.transport_security import RequestBodyLimitMiddleware, TransportSecuritySettings
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.audit import Trail
from shared.operating import is_loopback
from shared.serving import HEALTH

from .api_keys import ApiKeys
from .config import Settings
from .errors import refuse, stopped
from .middleware import Door
from .scopes import Needs
from .tokens import TokenVerifier

CACHEABLE = {"Cache-Control": "public, max-age=3600"}
MAY_READ = ("WWW-Authenticate", "Retry-After", "Mcp-Session-Id", "MCP-Protocol-Version", "Deprecation", "Sunset")
log = logging.getLogger("mcp_server")
Function = TypeVar("Function", bound=Callable[..., Any])


class Protected:
    """An `MCPServer` behind a door. Declare tools, resources and prompts here, each with the scopes that it needs.

    `http` asks for keys and introspection; decisions are written to `trail`. Both are made if they are not given.
    """

    def __init__(
        self, mcp: MCPServer, settings: Settings, *, http: httpx2.AsyncClient | None = None, trail: Trail | None = None
    ):
        self.mcp, self.settings = mcp, settings
        self.verifier = TokenVerifier(settings, http=http)
        self.api_keys = ApiKeys(settings.api_key_file) if settings.auth_mode != "oauth" else None
        self.trail = trail or Trail(Path(settings.audit_log) if settings.audit_log else None, as_json)
        self.needs = Needs(settings.required_scopes)
        mcp.middleware.append(self.needs.show_allowed)

    def tool(self, *scopes: str, **options: Any) -> Callable[[Function], Function]:
        """`MCPServer.tool`, and the scopes that a call needs, all of them. None: any valid token will do."""
        return self.declared("tools/call", self.mcp.tool, scopes, options)

    def prompt(self, *scopes: str, **options: Any) -> Callable[[Function], Function]:
        """`MCPServer.prompt`, and the scopes that getting it needs."""
        return self.declared("prompts/get", self.mcp.prompt, scopes, options)

    def resource(self, uri: str, *scopes: str, **options: Any) -> Callable[[Function], Function]:
        """`MCPServer.resource` for a URI or a URI template, and the scopes that reading it needs."""
        self.needs.declare("resources/read", uri, scopes)
        return self.mcp.resource(uri, **options)

    def method(self, name: str, *scopes: str) -> None:
        """What a whole method needs, whatever it is about: `method("tools/list", "mcp:tools:sentiment")`."""
        self.needs.declare(name, "", scopes)

    def declared(self, method: str, register: Callable[..., Any], scopes: tuple[str, ...], options: dict) -> Callable:
        def add(function: Function) -> Function:
            self.needs.declare(method, options.get("name") or function.__name__, scopes)
            return register(**options)(function)

        return add

    def app(self, **options: Any) -> Starlette:
        """The ASGI app. `options` go to `MCPServer.streamable_http_app`, for example `json_response=True`."""
        if self.api_keys and not self.api_keys.read():
            log.warning("no key in %s: `python -m mcp_server add-key NAME --scope SCOPE` makes one", self.api_keys.path)
        off = TransportSecuritySettings(enable_dns_rebinding_protection=False)  # the door checks it, and more strictly
        app = self.mcp.streamable_http_app(streamable_http_path=self.settings.path, transport_security=off, **options)
        path = self.settings.path  # the door's alone: Starlette also finds it with a line break behind
        app.routes[:] = [route for route in app.routes if getattr(route, "path", "") != path]
        app.router.lifespan_context = self.lifespan
        app.routes.extend([HEALTH, Route("/ready", self.ready), Route("/metrics", self.numbers)])
        if self.settings.oauth:
            app.routes.extend(Route(path, self.resource_metadata) for path in self.settings.metadata_paths)
        app.router.redirect_slashes = False  # /mcp/ is another address
        manager = self.mcp.session_manager
        bounded = getattr(manager, "asgi_app", None)  # reads all of a body to bound it: the door has done that already
        mcp = bounded.app if isinstance(bounded, RequestBodyLimitMiddleware) else manager.handle_request
        app.add_middleware(Door, mcp=mcp, protected=self)
        if origins := self.settings.cors_origins:  # before the door: a browser's first question brings no token
            pages = {"allow_origins": origins, "allow_methods": ("GET", "POST", "DELETE"), "allow_headers": "*"}
            app.add_middleware(CORSMiddleware, **pages, expose_headers=MAY_READ)
        return app

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        try:
            async with self.mcp.session_manager.run():
                yield
        finally:
            self.trail.close()  # a signal ends the process before anything else could

    async def resource_metadata(self, _: Request) -> Response:
        """RFC 9728 §2: which server this is, and who makes tokens for it."""
        document = {
            "resource": self.settings.audience,
            "authorization_servers": [self.settings.issuer],
            "scopes_supported": self.settings.required_scopes,
            "bearer_methods_supported": ["header"],
            "resource_name": self.mcp.name,
        }
        return JSONResponse({name: value for name, value in document.items() if value}, headers=CACHEABLE)

    async def ready(self, _: Request) -> Response:
        """It can tell good tokens from bad ones: keys are at hand, or can be had."""
        if self.settings.oauth:
            await self.verifier.keys.renew()
            if not self.verifier.keys.usable():
                return JSONResponse({"status": "no keys from the authorization server"}, 503)
        return JSONResponse({"status": "ready"})

    async def numbers(self, request: Request) -> Response:
        """For this computer, or for whoever has `metrics_token`. Behind a proxy everybody may seem to be here."""
        headers, here = request.headers, is_loopback(request.client.host if request.client else "")
        forwarded = self.settings.trusted_proxy or "x-forwarded-for" in headers
        from_here = here and headers.get("host", "").lower() in self.settings.hosts and not forwarded
        shown, wanted = headers.get("authorization", ""), f"Bearer {self.settings.metrics_token}"
        known = self.settings.metrics_token and hmac.compare_digest(shown.encode(), wanted.encode())
        if not (from_here or known):
            return refuse(stopped(403, "access_denied", "Metrics are for the operator of this server."))
        return Response(generate_latest(self.verifier.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def as_json(about: dict) -> str:
    """As json.dumps would have it, in a third of the time: every call has its line in the audit trail."""
    return to_json(about, ensure_ascii=True).decode()

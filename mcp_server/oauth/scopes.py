"""What each operation needs, and what a token allows. The message decides, because it is the message that runs."""

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

from mcp.shared.inbound import NAME_BEARING_METHODS, decode_header_value
from mcp.shared.uri_template import UriTemplate

from .requests import Asked

Scopes = tuple[str, ...]
REMEMBERED = 1000  # tools, prompts and resources whose scopes have been looked up
LISTS = {  # method: where its result holds the list, what names one of them, and which method uses one
    "tools/list": ("tools", "name", "tools/call"),
    "prompts/list": ("prompts", "name", "prompts/get"),
    "resources/list": ("resources", "uri", "resources/read"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate", "resources/read"),
}


class Needs:
    """Scopes by operation. `otherwise` is needed by tools, prompts and resources that nobody declared."""

    def __init__(self, otherwise: Scopes):
        self.otherwise = otherwise
        self.declared: dict[tuple[str, str], Scopes] = {}  # by method and name; resources under resources/read
        self.templates: list[tuple[UriTemplate, Scopes]] = []
        self.of_one = lru_cache(REMEMBERED)(self.look_up)

    def declare(self, method: str, name: str, scopes: Scopes) -> None:
        """What a tool, prompt, resource or template needs; without a name, what the whole method needs."""
        self.declared[method, name] = scopes
        if method == "resources/read" and "{" in name:
            self.templates.append((UriTemplate.parse(name), scopes))
        self.of_one.cache_clear()

    def of(self, message: dict) -> Scopes:
        """All scopes that this message needs, each once."""
        return together([self.of_one(*one) for one in subjects(str(message.get("method")), message)])

    def look_up(self, method: str, name: str) -> Scopes:
        """What one tool, prompt or resource needs; of a resource that fits several templates, what all of them need."""
        floor, found = self.declared.get((method, ""), ()), []
        if name and (method, name) in self.declared:
            found = [self.declared[method, name]]
        elif method == "resources/read":
            found = [scopes for template, scopes in self.templates if template.match(name) is not None]
        if found:
            return together([floor, *found])
        return floor or (self.otherwise if method in NAME_BEARING_METHODS else ())

    def show_allowed(self, ctx: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Awaitable[Any]:
        """Middleware of the SDK: lists show what this request's token may use, and are nobody else's to keep."""
        return self.shortened(ctx, call_next) if ctx.method in LISTS else call_next(ctx)

    async def shortened(self, ctx: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        result = await call_next(ctx)
        if not isinstance(result, dict):
            return result
        where, named, method = LISTS[ctx.method]
        user = getattr(ctx.request, "scope", {}).get("user")
        held = user.scopes if user is not None else []
        shown = [one for one in result.get(where, []) if allowed(held, self.of_one(method, text(one, named)))]
        private = {"cacheScope": "private"} if "cacheScope" in result else {}
        return result | {where: shown} | private


def subjects(method: str, message: dict) -> list[tuple[str, str]]:
    """What a message is about: the method that uses one of its kind, and its name. First the method itself."""
    params = part(message, "params")
    if method in NAME_BEARING_METHODS:
        return [(method, text(params, NAME_BEARING_METHODS[method]))]
    found = [(method, "")]
    if method in ("resources/subscribe", "resources/unsubscribe"):
        found.append(("resources/read", text(params, "uri")))
    elif method == "completion/complete":
        ref = part(params, "ref")
        ways = {"name": "prompts/get", "uri": "resources/read"}
        found += [(way, text(ref, member)) for member, way in ways.items() if member in ref]
    elif method == "subscriptions/listen":
        uris = part(params, "notifications").get("resourceSubscriptions")
        found += [("resources/read", str(uri)) for uri in uris] if isinstance(uris, list) else []
    return found


def part(whole: dict, name: str) -> dict:
    found = whole.get(name)
    return found if isinstance(found, dict) else {}


def text(whole: dict, name: str) -> str:
    found = whole.get(name)
    return found if isinstance(found, str) else ""


def name_in(message: dict) -> str:
    """The name of the tool, prompt or resource, for a method that has one."""
    return text(part(message, "params"), NAME_BEARING_METHODS.get(str(message.get("method")), ""))


def together(several: list[Scopes]) -> Scopes:
    several = [scopes for scopes in several if scopes]
    if len(several) == 1:  # as usual, and this is the fast path of every call
        return several[0]
    return tuple(dict.fromkeys(scope for scopes in several for scope in scopes))


def allowed(held: list[str], wanted: Scopes) -> bool:
    for one in wanted:
        if one not in held and not any(allows(scope, one) for scope in held):
            return False
    return True


def allows(scope: str, wanted: str) -> bool:
    """The whole allows its parts: a:b allows a:b:c. So does a:b:*, which does not allow a:b itself."""
    return wanted == scope or wanted.startswith(scope.removesuffix(":*") + ":")


# ── rules ─────────────────────────────────────────────────────────────────────


def no_token_inside(message: dict) -> bool:
    return "access_token" not in message  # OAuth 2.1 §5.1: one token, in one place


BODY_RULES = (no_token_inside,)


def method_as_announced(asked: Asked, message: dict) -> bool:
    for announced in asked.all(b"mcp-method"):
        if announced.decode("latin-1") != message.get("method"):
            return False
    return True


def name_as_announced(asked: Asked, message: dict) -> bool:
    for announced in asked.all(b"mcp-name") if asked.name else ():
        if decode_header_value(announced.decode("latin-1")) != asked.name:
            return False
    return True


ANNOUNCEMENT_RULES = (
    method_as_announced,
    name_as_announced,
)


def enough_scope(message: dict, held: list[str], needs: Needs) -> bool:
    return allowed(held, needs.of(message))


SCOPE_RULES = (enough_scope,)

"""What each operation needs, and what a token allows. The message decides, because it is the message that runs."""

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

from mcp.shared.inbound import NAME_BEARING_METHODS
from mcp.shared.uri_template import UriTemplate

Scopes = tuple[str, ...]
NOBODY: Scopes = ("",)  # no token holds this scope
LISTS = {  # method: where its result holds the list, what names one of them, and which method uses one
    "tools/list": ("tools", "name", "tools/call"),
    "prompts/list": ("prompts", "name", "prompts/get"),
    "resources/list": ("resources", "uri", "resources/read"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate", "resources/read"),
}


class Needs:
    """Scopes by operation. What nobody declared needs `otherwise`, and without it stays shut."""

    def __init__(self, otherwise: Scopes):
        self.otherwise = otherwise or NOBODY
        self.declared: dict[tuple[str, str], Scopes] = {}  # by method and name; resources under resources/read
        self.templates: list[tuple[UriTemplate, Scopes]] = []
        self.of_one = lru_cache(1000)(self.look_up)  # a call costs one look into a dict

    def declare(self, method: str, name: str, scopes: Scopes) -> None:
        """What a tool, prompt, resource or template needs; without a name, what the whole method needs."""
        self.declared[method, name] = scopes
        if method == "resources/read" and "{" in name:
            self.templates.append((UriTemplate.parse(name), scopes))
        self.of_one.cache_clear()

    def of(self, subjects: list[tuple[str, str]]) -> Scopes:
        """All scopes that a message about these needs, each once."""
        return together([self.of_one(*one) for one in subjects])

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

    async def show_allowed(self, ctx: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        """Middleware of the SDK: lists show what this request's token may use, and are nobody else's to keep."""
        result = await call_next(ctx)
        if ctx.method not in LISTS or not isinstance(result, dict):
            return result
        where, named, method = LISTS[ctx.method]
        user = getattr(ctx.request, "scope", {}).get("user")
        held = user.scopes if user is not None else []
        shown = [one for one in result.get(where, []) if allowed(held, self.of_one(method, part(one, named, str)))]
        return result | {where: shown} | ({"cacheScope": "private"} if "cacheScope" in result else {})


def subjects_of(message: dict) -> list[tuple[str, str]]:
    """What a message is about: the method that uses one of its kind, and its name. First the method itself."""
    method, params = str(message.get("method")), part(message, "params")
    if method in NAME_BEARING_METHODS:
        return [(method, part(params, NAME_BEARING_METHODS[method], str))]
    found = [(method, "")]
    if method in ("resources/subscribe", "resources/unsubscribe"):
        found.append(("resources/read", part(params, "uri", str)))
    elif method == "completion/complete":
        ref = part(params, "ref")
        ways = {"name": "prompts/get", "uri": "resources/read"}
        found += [(way, part(ref, member, str)) for member, way in ways.items() if member in ref]
    elif method == "subscriptions/listen":
        uris = part(part(params, "notifications"), "resourceSubscriptions", list)
        found += [("resources/read", str(uri)) for uri in uris]
    return found


def part(whole: dict, name: str, kind: type = dict) -> Any:
    """A member of what a stranger sent; an empty one if it is missing or of another kind."""
    found = whole.get(name)
    return found if isinstance(found, kind) else kind()


def together(several: list[Scopes]) -> Scopes:
    several = [scopes for scopes in several if scopes]
    if len(several) == 1:  # as usual, and this is the fast path of every call
        return several[0]
    return tuple(dict.fromkeys(scope for scopes in several for scope in scopes))


def allowed(held: list[str], wanted: Scopes) -> bool:
    return all(one in held or any(allows(scope, one) for scope in held) for one in wanted)


def allows(scope: str, wanted: str) -> bool:
    """The whole allows its parts: a:b allows a:b:c. So does a:b:*, which does not allow a:b itself."""
    return wanted == scope or wanted.startswith(scope.removesuffix(":*") + ":")

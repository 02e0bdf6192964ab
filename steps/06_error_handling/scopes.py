"""Step 06 · every no says what to do next.

What each operation needs. The message decides, because it is the message that runs; headers only announce.
"""

from mcp.shared.inbound import NAME_BEARING_METHODS, decode_header_value
from starlette.requests import Request

# ── what we remember ──────────────────────────────────────────────────────────

SENTIMENT = "mcp:tools:sentiment"
READ_CUSTOMERS = "mcp:resources:customer-data:read"
REBALANCE = "mcp:exec:workflows:rebalance"
needed: dict[tuple[str, str], tuple[str, ...]] = {  # by operation; the tools add their own
    ("tools/list", ""): (SENTIMENT,),  # which tools there are is for those who use the basic one
    ("resources/list", ""): (READ_CUSTOMERS,),
    ("resources/templates/list", ""): (READ_CUSTOMERS,),
    ("resources/read", ""): (READ_CUSTOMERS,),
}

# ── rules ─────────────────────────────────────────────────────────────────────


def method_as_announced(request: Request, message: dict) -> bool:
    return all(announced == message.get("method") for announced in request.headers.getlist("mcp-method"))


def name_as_announced(request: Request, message: dict) -> bool:
    name = name_in(message)
    announced = map(decode_header_value, request.headers.getlist("mcp-name"))
    return not name or all(other == name for other in announced)


ANNOUNCEMENT_RULES = (
    method_as_announced,
    name_as_announced,
)


def enough_scope(message: dict, held: list[str]) -> bool:
    return all(any(allows(scope, wanted) for scope in held) for wanted in scopes_for(message))


SCOPE_RULES = (
    enough_scope,
)


def scopes_for(message: dict) -> tuple[str, ...]:
    """What runs is the method, and for a tool its name. Others, like ping, show only what all may see."""
    method = message.get("method")
    return needed.get((str(method), name_in(message) if method == "tools/call" else ""), ())


def allows(scope: str, wanted: str) -> bool:
    """The whole allows its parts: mcp:resources:customer-data allows mcp:resources:customer-data:read."""
    return wanted == scope or wanted.startswith(f"{scope}:")


def name_in(message: dict) -> str:
    """The name of the tool, prompt or resource, for a method that has one."""
    member, params = NAME_BEARING_METHODS.get(str(message.get("method"))), message.get("params")
    name = params.get(member) if isinstance(params, dict) else None
    return name if isinstance(name, str) else ""

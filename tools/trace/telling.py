"""How a trace is told: in which order, and what one exchange says in a few words. Page and diagram agree on it.

An exchange during which its receiver asks somebody else takes two rows, with what lies between; any other takes one.
That is decided by who asks whom, not by time alone: answers that overlap by chance look the same in every run.
"""

import json
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, urlsplit

OWN_WORDS = {  # names in an answer's body that say what it brings
    "access_token": "access_token",
    "keys": "keys",
    "authorization_servers": "authorization_servers",
    "issuer": "issuer and endpoints",
    "client_id": "client_id",
    "active": "active",
}


@dataclass(frozen=True)
class Row:
    """`kind` is `both`, `request`, `answer` or `note`; `depth` counts the exchanges that are open around it."""

    kind: str
    exchange: dict | None = None
    text: str = ""
    depth: int = 0


@dataclass
class Section:
    """What the client announced (None: before it said anything) and what went over the wire then."""

    say: dict | None
    rows: list[Row] = field(default_factory=list)

    @property
    def lesson(self) -> bool:
        return any(row.exchange and row.exchange["lesson"] for row in self.rows)


# ── the order ─────────────────────────────────────────────────────────────────────────────────────


def sections(trace: dict) -> list[Section]:
    """The whole story, in order. What happens inside an exchange belongs to the section of that exchange."""
    found = {None: Section(None)} | {say["number"]: Section(say) for say in trace["says"]}
    inner = nested(trace["exchanges"])
    inside = {child["id"] for children in inner.values() for child in children}
    told = [(exchange["at"], exchange) for exchange in in_order(trace["exchanges"]) if exchange["id"] not in inside]
    told += [(note["at"], note) for note in trace["notes"]]
    for at, thing in sorted(told, key=lambda pair: pair[0]):
        if "text" in thing:
            found[number_at(trace["says"], at)].rows.append(Row("note", text=thing["text"]))
        else:
            number = thing["say"] if thing["say"] in found else None
            found[number].rows += rows_of(thing, inner)
    return [section for section in found.values() if section.say or section.rows]


def in_order(exchanges: list[dict]) -> list[dict]:
    return sorted(exchanges, key=lambda exchange: (exchange["at"], exchange["id"]))


def nested(exchanges: list[dict]) -> dict[int, list[dict]]:
    """For each exchange, those that its receiver began and finished before it answered."""
    inner: dict[int, list[dict]] = {exchange["id"]: [] for exchange in exchanges}
    for child in in_order(exchanges):
        around = [outer for outer in exchanges if outer["to"] == child["from"] and encloses(outer, child)]
        if around:
            inner[max(around, key=lambda outer: (outer["at"], outer["id"]))["id"]].append(child)
    return inner


def encloses(outer: dict, child: dict) -> bool:
    return outer["at"] < child["at"] and child["at"] + child["took"] <= outer["at"] + outer["took"]


def rows_of(exchange: dict, inner: dict[int, list[dict]], depth: int = 0) -> list[Row]:
    children = inner[exchange["id"]]
    if not children:
        return [Row("both", exchange, depth=depth)]
    between = [row for child in children for row in rows_of(child, inner, depth + 1)]
    return [Row("request", exchange, depth=depth), *between, Row("answer", exchange, depth=depth)]


def number_at(says: list[dict], at: float) -> int | None:
    before = [say["number"] for say in says if say["at"] <= at]
    return before[-1] if before else None


def parties(trace: dict) -> list[dict]:
    """The lanes in their order; whoever speaks without having been introduced comes last."""
    named = {party["id"]: party for party in trace["parties"]}
    for exchange in trace["exchanges"]:
        for end in (exchange["from"], exchange["to"]):
            named.setdefault(end, {"id": end, "name": end})
    return list(named.values())


# ── few words ─────────────────────────────────────────────────────────────────────────────────────


def asked(exchange: dict) -> dict[str, str]:
    """`method`, `path` (without the query) and `about`: the one thing that tells this request from its like."""
    request = exchange["request"]
    path = split(request["url"]).path or "/"
    return {"method": request["method"], "path": path, "about": about(request)}


def about(request: dict) -> str:
    kind = header(request, "content-type")
    if kind.startswith("application/x-www-form-urlencoded"):
        form = dict(parse_qsl(request["body"]))
        return form.get("grant_type") or form.get("decision") or ""
    call = parsed(request["body"])
    if method := header(request, "mcp-method") or str(call.get("method", "") if "jsonrpc" in call else ""):
        inner = call.get("params")
        inner = inner if isinstance(inner, dict) else {}
        name = header(request, "mcp-name") or inner.get("name") or inner.get("uri") or ""
        return f"{method} {name}".strip()
    return ""


def answered(exchange: dict) -> dict[str, str | int]:
    """`status` (0 if nobody answered), `reason`, and `fact`: the one thing in it that matters, or nothing."""
    response = exchange["response"]
    if response is None:
        return {"status": 0, "reason": "no answer", "fact": "the connection broke"}
    return {"status": response["status"], "reason": response["reason"], "fact": fact(response)}


def fact(response: dict) -> str:
    body = parsed(response["body"])
    if location := header(response, "location"):
        return f"to {destination(location)}"
    if challenge := header(response, "www-authenticate"):
        return told_by_challenge(challenge)
    if isinstance(body.get("error"), str):
        return body["error"]
    if isinstance(body.get("error"), dict):
        return in_short(str(body["error"].get("message") or body["error"].get("code", "error")))
    if isinstance(body.get("result"), dict):
        return told_by_result(body["result"])
    if page := re.match(r"\(a page: (.+?)\. ", response["body"]):
        return in_short(f"page: {page[1]}")
    return next((words for name, words in OWN_WORDS.items() if name in body), "")


def destination(location: str) -> str:
    """Where a redirect goes and what it takes along, without a port that differs from run to run."""
    target = split(location)
    carried = dict(parse_qsl(target.query))
    host = "127.0.0.1" if target.hostname == "127.0.0.1" else target.netloc
    where = f"{host}{target.path}"
    if "error" in carried:
        return f"{where} with error={carried['error']}"
    return f"{where} with a code" if "code" in carried else where


def told_by_challenge(challenge: str) -> str:
    if error := re.search(r'\berror="([^"]*)"', challenge):
        return error[1]
    scheme = challenge.split(" ", 1)[0]
    return "resource_metadata" if "resource_metadata=" in challenge else f"{scheme} challenge"


def told_by_result(result: dict) -> str:
    if result.get("isError"):
        return "the tool failed"
    if isinstance(result.get("tools"), list):
        return "tools"
    content = result.get("structuredContent")
    if isinstance(content, dict) and list(content) == ["result"]:
        result = content["result"]
        return in_short(f"result {result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)}")
    return next((name for name in ("contents", "content", "capabilities", "serverInfo") if name in result), "")


# ── reading ───────────────────────────────────────────────────────────────────────────────────────


def split(url: str) -> SplitResult:
    """The parts of an address; of what is none, nothing: anybody may have sent it."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


def header(message: dict, name: str) -> str:
    """The first header of that name, whatever its capitals, or nothing."""
    return next((value for key, value in message["headers"] if key.lower() == name), "")


def parsed(body: str) -> dict:
    """A JSON object, also as the one message of an event stream; anything else is an empty one."""
    if body.startswith(("event:", "data:")):
        lines = [row[5:].strip() for row in body.splitlines() if row.startswith("data:")]
        body = next((row for row in lines if row), "")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def in_short(text: str, longest: int = 48) -> str:
    """At most so many characters, cut between words: half an identifier could not be told from a word."""
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1].rsplit(' ', 1)[0]} …"

"""A trace as an HTTP Archive (HAR 1.2): what the network panels of browsers, and proxies, can open.

Who asked whom, and why, has no place in that format; it stands in `_from`, `_to`, `_say`, `_why` and `_lesson`.
"""

from datetime import datetime, timedelta
from urllib.parse import parse_qsl

from tools.trace.telling import header, in_order, split

PAGE = "run"
PROTOCOL = "HTTP/1.1"
UNKNOWN = -1  # how the format says that a size or a time was not measured


def har(trace: dict) -> dict:
    page = {
        "id": PAGE,
        "startedDateTime": trace["began"],
        "title": f"Step {trace['step']}: {trace['title']}",
        "pageTimings": {"onContentLoad": UNKNOWN, "onLoad": UNKNOWN},
    }
    return {
        "log": {
            "version": "1.2",
            "creator": {"name": "mcp-oauth-workshop", "version": "0"},
            "pages": [page],
            "entries": [entry(exchange, trace) for exchange in in_order(trace["exchanges"])],
        }
    }


def entry(exchange: dict, trace: dict) -> dict:
    told = {
        "pageref": PAGE,
        "startedDateTime": moment(trace["began"], exchange["at"]),
        "time": exchange["took"],
        "request": request_of(exchange["request"]),
        "response": response_of(exchange["response"]),
        "cache": {},
        "timings": {"send": 0, "wait": exchange["took"], "receive": 0},
        "_from": exchange["from"],
        "_to": exchange["to"],
        "_say": exchange["say"],
        "_why": exchange["why"],
        "_lesson": exchange["lesson"],
    }
    return told if exchange["response"] else told | {"_error": "no answer"}


def moment(began: str, milliseconds: float) -> str:
    at = datetime.fromisoformat(began) + timedelta(milliseconds=milliseconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def request_of(request: dict) -> dict:
    told = {
        "method": request["method"],
        "url": request["url"],
        "httpVersion": PROTOCOL,
        "cookies": cookies(header(request, "cookie").split(";")),
        "headers": pairs(request["headers"]),
        "queryString": pairs(parse_qsl(split(request["url"]).query, keep_blank_values=True)),
        "headersSize": UNKNOWN,
        "bodySize": request["size"],
    }
    return told | {"postData": posted(request)} if request["body"] else told


def posted(request: dict) -> dict:
    kind = header(request, "content-type")
    form = kind.startswith("application/x-www-form-urlencoded")
    fields = parse_qsl(request["body"], keep_blank_values=True) if form else []
    return {"mimeType": kind, "text": request["body"], "params": pairs(fields)}


def response_of(response: dict | None) -> dict:
    """A broken connection is status 0, as browsers write it."""
    if response is None:
        response = {"status": 0, "reason": "", "headers": [], "body": "", "size": 0}
    set_cookies = [value.split(";")[0] for name, value in response["headers"] if name.lower() == "set-cookie"]
    content = {"size": response["size"], "mimeType": header(response, "content-type"), "text": response["body"]}
    return {
        "status": response["status"],
        "statusText": response["reason"],
        "httpVersion": PROTOCOL,
        "cookies": cookies(set_cookies),
        "headers": pairs(response["headers"]),
        "content": content,
        "redirectURL": header(response, "location"),
        "headersSize": UNKNOWN,
        "bodySize": response["size"],
    }


def pairs(some: list) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in some]


def cookies(some: list[str]) -> list[dict[str, str]]:
    split = [text.partition("=") for text in some if text.strip()]
    return [{"name": name.strip(), "value": value.strip()} for name, _, value in split]

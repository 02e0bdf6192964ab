"""What a run leaves behind: every exchange, as those who received it saw it, and no secret."""

import json
import re
from pathlib import Path

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient

from shared import tracing
from shared.tracing import Recorder
from tests import scratch
from tests.processes import run, started, walked
from tools import diagrams, trace
from tools.catalogue import all_steps, step_named
from tools.environment import ROOT
from tools.trace import record

NUMBERS = list(all_steps())
every_step = pytest.mark.parametrize("number", NUMBERS)


def traced(number: str) -> dict:
    walked(number)
    return json.loads((step_named(number).out / "trace.json").read_text(encoding="utf-8"))


def arrows(found: dict) -> list[str]:
    return [record.in_one_line(exchange) for exchange in found["exchanges"]]


# ── what is recorded ──────────────────────────────────────────────────────────


@every_step
def test_every_run_leaves_its_traces_and_says_where(number: str) -> None:
    assert f"What went over the wire: out/step-{number}/trace.html" in walked(number).out
    left = {path.name for path in step_named(number).out.iterdir()}
    assert {"trace.json", "trace.html", "trace.har", "trace.mmd"} <= left
    assert not [name for name in left if name.endswith(tracing.SUFFIX)], "they are used up"


@every_step
def test_everything_that_the_client_shows_is_in_the_trace_in_its_order(number: str) -> None:
    shown = re.findall(r"→ [\w ]+   (GET|POST) http://localhost(:\d+)?(/[^\s?]*)[^\n]*", walked(number).out)
    pairs = [(method, path) for method, _, path in shown]
    recorded = iter([(word[3], word[4]) for word in map(str.split, arrows(traced(number)))])
    assert all(pair in recorded for pair in pairs), "a subsequence"


@every_step
def test_each_step_marks_its_lesson_and_says_why_of_everything(number: str) -> None:
    exchanges = traced(number)["exchanges"]
    assert any(exchange["lesson"] for exchange in exchanges)
    assert not all(exchange["lesson"] for exchange in exchanges) or number == "01"
    for exchange in exchanges:
        assert exchange["why"], record.in_one_line(exchange)
    named = [exchange for exchange in exchanges if re.search(r"(RFC \d{4}|OAuth 2\.1) §", exchange["why"])]
    assert len(named) > len(exchanges) / 2


@pytest.mark.parametrize("number", ["07"])
def test_what_the_client_never_sees_is_there_too(number: str) -> None:
    seen = arrows(traced(number))
    for arrow in (
        "browser > auth_server GET /authorize 200 -",
        "browser > auth_server POST /consent 303 -",
        "browser > client GET /callback 303 -",
        "mcp_server > auth_server GET /jwks 200 -",
        "mcp_server > upstream GET /customers/c-2 200 -",
        "attacker > auth_server POST /token 400 invalid_grant",
        "attacker > mcp_server POST /mcp 421 invalid_request",
    ):
        assert arrow in seen


@pytest.mark.parametrize(
    ("number", "lanes"),
    [
        ("05", ["browser", "client", "mcp_server", "neighbour", "auth_server"]),
        ("08", ["machine", "mcp_server", "auth_server"]),
    ],
    ids=["05", "08"],
)
def test_the_neighbour_and_the_machine_have_lanes_of_their_own(number: str, lanes: list[str]) -> None:
    assert [party["id"] for party in traced(number)["parties"]] == lanes


@pytest.mark.parametrize("number", ["05"])
def test_an_exchange_lies_within_the_one_that_caused_it(number: str) -> None:
    exchanges = traced(number)["exchanges"]
    caused = next(exchange for exchange in exchanges if exchange["request"]["url"].endswith("/jwks"))
    causes = [e for e in exchanges if e["at"] < caused["at"] < caused["at"] + caused["took"] < e["at"] + e["took"]]
    assert [record.in_one_line(exchange) for exchange in causes] == ["client > mcp_server POST /mcp 200 -"]


@pytest.mark.parametrize("number", ["05"])
def test_tokens_are_taken_apart_where_they_were_seen(number: str) -> None:
    found = [
        (record.in_one_line(exchange), token["where"], token["claims"]["aud"])
        for exchange in traced(number)["exchanges"]
        for half in ("request", "response")
        for token in exchange[half]["tokens"]
    ]
    assert ("client > auth_server POST /token 200 -", "access_token", "http://localhost:8000/mcp") in usual(found)
    assert ("client > mcp_server POST /mcp 401 invalid_token", "authorization", "http://localhost:8001/mcp") in usual(
        found
    )


def usual(found: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    from tests.processes import usual_ports

    return [(arrow, where, usual_ports(audience)) for arrow, where, audience in found]


# ── secrets ───────────────────────────────────────────────────────────────────


@every_step
def test_no_secret_is_in_any_trace(number: str) -> None:
    walked(number)
    for path in step_named(number).out.glob("trace.*"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"eyJ[\w-]{20,}", text), path.name
        assert not re.search(r"(code|code_verifier|refresh_token|password|client_assertion)(=|%3D)[\w-]{7,}", text)
        assert not re.search(r"(_token|secret|code)\W{1,8}: \W{1,4}[\w-]{16,}", text), path.name
        assert not re.search(r"(Bearer|Basic) (?!challenge)[\w=-]{7,}", text), path.name
        assert "wonderland" not in text, path.name


# ── however it ends ───────────────────────────────────────────────────────────


def test_a_run_that_fails_leaves_a_trace_that_says_so(tmp_path: Path) -> None:
    copy = scratch.make(tmp_path)
    copy.edit(copy.file("02", "auth_server.py"), '"issuer": ISSUER', '"issuer": ISSUER + "/"')
    ran = copy.steps("run", "02")
    assert (ran.code, "What went over the wire: out/step-02/trace.html" in ran.out) == (1, True)
    found = json.loads((tmp_path / "out" / "step-02" / "trace.json").read_text(encoding="utf-8"))
    assert found["outcome"].startswith("We asked http://localhost:")
    assert arrows(found)[-1].startswith("client > auth_server GET /.well-known/")


# ── whatever is sent ──────────────────────────────────────────────────────────


async def echo(request: Request) -> Response:
    return JSONResponse({"length": len(await request.body())}, headers={"Set-Cookie": "session=0123456789abcdef0123"})


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ""),
        (b"\xff\xfe\x00", "application/json"),
        (b'{"a": "\\ud800"}', "application/json"),
        (b"[" * 5000, "application/json"),
        (b"{" + b'"a":' * 10, "application/x-www-form-urlencoded"),
        (b'{"access_token": 1, "code": null}', "application/json"),
        (b'{"access_token": "e30.e30.x"}', "application/json"),
        (b"code=" + b"s" * 40 + b"&code=%ff", "application/x-www-form-urlencoded"),
        (b"<h1>\xe2</h1>", "text/html"),
        (b"x" * 200_000, "text/plain"),
    ],
)
def test_nothing_that_anybody_sends_breaks_the_recording(body: bytes, kind: str, tmp_path: Path, monkeypatch) -> None:
    with (tmp_path / f"server{tracing.SUFFIX}").open("w", encoding="utf-8", buffering=1) as file:
        monkeypatch.setattr(tracing, "file", file)
        client = TestClient(Recorder(echo_app, "mcp_server"))
        answer = client.post("/x?code=abcdefghijk&a=%ff", content=body, headers={"Content-Type": kind, "Cookie": "a=b"})
    assert answer.json() == {"length": len(body)}
    found = record.made_of(step_named("04"), tmp_path, "")
    assert arrows(found) == ["somebody > mcp_server POST /x 200 -"]
    text = json.dumps(found)
    assert "abcdefghijk" not in text and "0123456789abcdef0123" not in text and "s" * 30 not in text


async def echo_app(scope: dict, receive: object, send: object) -> None:
    await (await echo(Request(scope, receive)))(scope, receive, send)


def test_a_browser_is_known_by_its_name_and_a_program_that_says_nothing_is_somebody() -> None:
    def sender(**headers: str) -> str:
        return record.sender_of({"sender": "", "request": {"headers": list(headers.items())}})

    assert sender(**{"user-agent": "Mozilla/5.0 …"}) == "browser"
    assert sender(**{"user-agent": "curl/8"}) == "somebody"


def test_what_we_send_says_who_we_are_in_the_headers_of_trace_context() -> None:
    request = httpx2.Request("GET", "http://localhost/")
    tracing.sign(request, "client")
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", request.headers["traceparent"])
    assert request.headers["tracestate"] == "workshop=client"


def test_an_address_that_is_none_spoils_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / f"server{tracing.SUFFIX}").open("w", encoding="utf-8", buffering=1) as file:
        monkeypatch.setattr(tracing, "file", file)
        exchange = tracing.Exchange("mcp_server", "GET", "http://[/mcp", [("host", "[")])
        exchange.status, exchange.answer_headers = 303, [("location", "http://[")]
        exchange.write_down()
        file.write('{"kind": "exchange", "at"')  # a program that was killed while it wrote
    assert trace.write(step_named("04"), tmp_path, "") == tmp_path / "trace.html"


@pytest.mark.thorough
def test_a_second_run_at_the_same_ports_takes_nothing_from_the_first(tmp_path: Path) -> None:
    with started("serve", "02") as serving:
        assert any("restart-as" in row for row in iter(serving.stdout.readline, ""))
        (tmp_path / "step-02").mkdir()
        kept = tmp_path / "step-02" / f"client{tracing.SUFFIX}"
        kept.write_text("{}")
        ran = run("run", "02", OUT=str(tmp_path))
        assert (ran.code, "is taken" in ran.err, kept.exists()) == (1, True, True)
        serving.terminate()
        serving.wait(60)


# ── the diagrams ──────────────────────────────────────────────────────────────


@every_step
def test_the_diagram_in_a_readme_is_what_happens(number: str) -> None:
    drawn = diagrams.of_a_step(traced(number))
    assert diagrams.kept(step_named(number).path / "README.md") == drawn, "stale: python -m steps diagrams"


@pytest.mark.parametrize("number", ["05"])
def test_the_picture_at_the_front_door_is_what_happens(number: str) -> None:
    drawn = diagrams.of_the_front_door(traced(number))
    assert diagrams.kept(ROOT / "README.md") == drawn, "stale: python -m steps diagrams"

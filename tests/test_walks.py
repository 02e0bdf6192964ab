"""Every step, run for real: its servers as processes, its client through them, and nothing left behind."""

import re
from pathlib import Path

import pytest

from tests.processes import elsewhere, listening, logs_in, orphans, revealed, run, run_oddly, walked
from tools.catalogue import all_steps

NUMBERS = list(all_steps())
every_step = pytest.mark.parametrize("number", NUMBERS)

LAST_WORDS = {
    "01": "tokens for it are made by http://localhost:9000",
    "02": "tokens are made at http://localhost:9000/token",
    "03": "the user's answer may only go to http://127.0.0.1/callback, on any port",
    "04": "whoever makes a token up still gets in",
    "05": "what is not signed by the issuer's key is not believed",
    "06": "everything can be lost and made again: tokens, consent, even our own name",
    "07": "whoever acts for others asks first whether these others may",
    "08": "the MCP server has not changed by one line: a token is a token",
}


@every_step
def test_a_walk_ends_well_and_leaves_nothing_behind(number: str) -> None:
    ran = walked(number)
    assert (ran.code, ran.err) == (0, "")
    assert LAST_WORDS[number] in ran.out
    assert (listening(), orphans()) == ([], [])


@every_step
def test_exchanges_are_numbered_without_a_gap(number: str) -> None:
    numbers = [int(found) for found in re.findall(r"^ ?(\d+)  \S", walked(number).out, re.M)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 3


@every_step
def test_every_exchange_says_who_asked_whom_and_what_came(number: str) -> None:
    asked = re.findall(
        r"^    (?:client|attacker|user's browser) → (?:authorization server|MCP server|API behind it)   (?:GET|POST) http://localhost:\d+/\S*$",
        walked(number).out,
        re.M,
    )
    answered = re.findall(r"^    ← \d{3} \w+", walked(number).out, re.M)
    assert len(asked) == len(answered) >= 3


@every_step
def test_a_url_is_never_broken_and_no_colour_reaches_a_pipe(number: str) -> None:
    out = walked(number).out
    assert "\x1b" not in out
    assert 'resource_metadata="http://localhost:8000/.well-known/oauth-protected-resource/mcp"' in out


@every_step
def test_the_end_says_what_to_type_next(number: str) -> None:
    following = [other for other in NUMBERS if other > number][:1]
    for next_number in following:
        assert f"make step-{next_number}" in walked(number).out
    assert f"out/step-{number}" in walked(number).out


def test_who_did_not_type_make_is_not_told_make() -> None:
    assert "python -m steps run 02" in run_oddly().out


@pytest.mark.parametrize("number", NUMBERS[3:])
def test_secrets_are_shortened(number: str) -> None:
    assert not re.search(r"eyJ[\w-]{20,}", walked(number).out)
    assert not re.search(r"(code|code_verifier|token|client_secret) = \S{20,}", walked(number).out)
    assert not re.search(r'(secret|token)": "[^" ]{20,}', walked(number).out)
    assert not re.search(r"(Bearer|Basic) [\w=-]{20,}", walked(number).out)
    assert "wonderland" not in walked(number).out


def test_reveal_shows_them() -> None:
    ran, left = revealed()
    assert re.search(r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{300,}", ran.out)
    assert re.search(r"code_verifier = \S{43}", ran.out)
    assert re.search(r"eyJ[\w-]{20,}\.", (left / "trace.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("number", ["05"])
def test_a_token_is_taken_apart_with_a_word_on_every_claim(number: str) -> None:
    for name, word in {"aud": "whose door it opens", "iss": "who made it", "exp": "when it stops working"}.items():
        assert re.search(rf"^ +{name} .*{word}", walked(number).out, re.M)


@pytest.mark.parametrize("number", ["04"])
def test_step_04_says_what_it_leaves_open(number: str) -> None:
    assert "Left open on purpose: nobody verifies tokens yet." in walked(number).out
    assert "It says we are mallory" in walked(number).out


@pytest.mark.parametrize("number", ["05"])
def test_step_05_refuses_what_step_04_believed(number: str) -> None:
    _, _, wrong = walked(number).out.partition("Carry the neighbour's token to our door")
    assert wrong.count("401 Unauthorized") == wrong.count('error="invalid_token"') == 4
    assert "lets it in: alice" in walked(number).out


def test_a_console_of_an_old_code_page_still_gets_everything() -> None:
    assert run_oddly().code == 0
    assert "->" in run_oddly().out


def test_without_a_terminal_nothing_stops_and_that_is_said() -> None:
    assert "What will come back" not in run_oddly().out
    assert run_oddly().err.startswith("Nothing stops here, whatever PAUSE says")


def test_trace_0_leaves_it_out() -> None:
    assert run_oddly().code == 0 and "trace.html" not in run_oddly().out
    assert not list((Path(elsewhere()) / "odd" / "step-01").glob("*trace*"))


@pytest.mark.thorough
def test_the_same_again_at_once() -> None:
    assert run("run", "01").code == run("run", "01").code == 0


def test_the_logs_name_what_was_asked_and_no_secret() -> None:
    logs = logs_in(revealed()[1])
    assert set(logs) == {"auth_server.log", "mcp_server.log", "neighbour.log"}
    assert "auth_server  POST /token 200" in logs["auth_server.log"]
    assert "mcp_server   refused by the rule made_for_us" in logs["mcp_server.log"]
    assert "neighbour    POST /mcp 200" in logs["neighbour.log"]
    assert not re.search(r"eyJ|code=|\?|wonderland|Bearer", "".join(logs.values()))


def test_what_the_operator_and_the_machines_hold_is_in_no_log(tmp_path: Path) -> None:
    held = {"INITIAL_ACCESS_TOKEN": "only-the-operator", "UPSTREAM_TOKEN": "only-the-mcp-server"}
    run("run", "08", REVEAL="1", OUT=str(tmp_path), **held)
    logs = logs_in(tmp_path / "step-08")
    assert set(logs) == {
        "auth_server.log",
        "auth_server.audit.jsonl",
        "mcp_server.log",
        "mcp_server.audit.jsonl",
        "upstream.log",
    }
    assert logs["auth_server.audit.jsonl"].count('"what": "POST /token", "from": "127.0.0.1", "outcome": "done"') == 4
    assert not re.search(r"eyJ|only-the|Basic|Bearer|client_secret=", "".join(logs.values()))

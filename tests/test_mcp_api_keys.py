"""API keys beside OAuth, on the way out: who still uses them, what they are told, and how they end."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_server.oauth.api_keys import ApiKeys
from shared.stop import Stop
from tests.finished_mcp import BASIC, Finished, finished
from tools.environment import ROOT

CHALLENGE_OF_KEYS = 'ApiKey realm="mcp"'


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[Finished]:
    with finished(monkeypatch) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> ApiKeys:
    return ApiKeys(tmp_path / "keys.txt")


def with_keys(door: Finished, file: ApiKeys, mode: str = "both", **changes: object) -> str:
    """Start it in this mode; a key that may do the basic things."""
    key = file.add("reports", BASIC.split())
    door.start(auth_mode=mode, api_key_file=file.path, **changes)
    return key


def test_only_hashes_are_kept(file: ApiKeys) -> None:
    keys = [file.add(name, []) for name in ("one", "two")]
    text = file.path.read_text(encoding="utf-8")
    assert not any(key in text for key in keys)
    hashes = [hashlib.sha256(key.encode()).hexdigest() for key in keys]
    assert [line.split()[1] for line in text.splitlines()] == hashes, "as ever: keys that were made before go on"
    assert [file.who(key.encode()).about["key"] for key in keys] == ["one", "two"]
    assert [known.about["key"] for known in file.read().values()] == ["one", "two"]
    assert all(len(key) >= 43 for key in keys)
    for name in ("one", "", "one two", "a\nb"):
        with pytest.raises(Stop, match="is taken, or no name"):
            file.add(name, [])


@pytest.mark.parametrize("content", ["one", "one hash", '{"keys": 5}', "\xff"])
def test_a_file_that_makes_no_sense_is_a_sentence(file: ApiKeys, content: str) -> None:
    file.path.write_text(content, encoding="latin-1")
    with pytest.raises(Stop, match="cannot be read as a file of API keys"):
        file.read()


def test_who_starts_with_a_file_that_makes_no_sense_is_told_so(door: Finished, file: ApiKeys) -> None:
    file.path.write_text("one")
    with pytest.raises(Stop, match="cannot be read as a file of API keys"):
        door.start(auth_mode="both", api_key_file=file.path)


@pytest.mark.parametrize("mode", ["api_key", "both"])
def test_who_starts_without_any_key_is_told_how_to_make_one(
    door: Finished, file: ApiKeys, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    door.start(auth_mode=mode, api_key_file=file.path)
    [record] = caplog.records
    how = "`python -m mcp_server add-key NAME --scope SCOPE` makes one"
    assert (record.levelname, record.getMessage()) == ("WARNING", f"no key in {file.path}: {how}")
    caplog.clear()
    with_keys(door, file, mode)
    assert not caplog.records


def test_in_both_modes_a_key_works_and_a_token_too(door: Finished, file: ApiKeys) -> None:
    key = with_keys(door, file)
    assert door.list_tools(**{"X-API-Key": key}).status_code == 200
    assert door.opens(door.token())
    who = door.call("whoami", "", {"X-API-Key": key})
    assert "api-key:reports, through client api-key:reports" in who.text
    assert door.number('mcp_auth_calls_total{key="reports",kind="api_key"}') == 2
    assert door.number('mcp_auth_calls_total{key="",kind="oauth"}') == 1
    assert door.trail.lines[-1] | {"key": "reports", "who": "api-key:reports"} == door.trail.lines[-1]
    assert key not in str(door.trail.lines) + door.mcp.get("/metrics").text


def test_a_key_has_scopes_like_a_token(door: Finished, file: ApiKeys) -> None:
    key = with_keys(door, file)
    answer = door.call("rebalance", "", {"X-API-Key": key}, portfolio={})
    assert (answer.status_code, 'error="insufficient_scope"' in answer.headers["www-authenticate"]) == (403, True)


def test_with_oauth_alone_a_key_is_nothing(door: Finished, file: ApiKeys) -> None:
    key = with_keys(door, file, "oauth")
    answer = door.list_tools(**{"X-API-Key": key})
    assert (answer.status_code, answer.headers["www-authenticate"].startswith("Bearer ")) == (401, True)
    assert door.list_tools(door.token(), **{"X-API-Key": "anything"}).status_code == 200


def test_with_keys_alone_a_token_is_nothing_and_no_metadata_leads_elsewhere(door: Finished, file: ApiKeys) -> None:
    key = with_keys(door, file, "api_key")
    assert door.list_tools(**{"X-API-Key": key}).status_code == 200
    answer = door.list_tools(door.token())
    assert (answer.status_code, answer.headers["www-authenticate"].startswith(CHALLENGE_OF_KEYS)) == (401, True)
    assert "resource_metadata" not in answer.headers["www-authenticate"]
    assert door.mcp.get("/.well-known/oauth-protected-resource").status_code == 404
    assert door.mcp.get("/ready").status_code == 200 and door.issuer.asked == 0


@pytest.mark.parametrize("wrong", ["", "mcpk_wrong", "x" * 100_000, "é"])
def test_a_wrong_key_is_shown_the_way_to_oauth(door: Finished, file: ApiKeys, wrong: str) -> None:
    with_keys(door, file)
    answer = door.list_tools(**{"X-API-Key": wrong.encode("latin-1")})
    assert (answer.status_code, "resource_metadata=" in answer.headers["www-authenticate"]) == (401, True)
    assert door.trail.lines[-1]["reason"] == "invalid_api_key"


def test_nobody_shows_two_things_at_once(door: Finished, file: ApiKeys) -> None:
    key = with_keys(door, file)
    assert door.list_tools(door.token(), **{"X-API-Key": key}).status_code == 400
    token = door.token()
    assert door.opens(token)
    assert door.list_tools(token, **{"X-API-Key": key}).status_code == 400, "also with a token that we know"


def test_guessing_keys_is_limited(door: Finished, file: ApiKeys) -> None:
    key = with_keys(door, file, failures_per_minute=3)
    assert [door.list_tools(**{"X-API-Key": "guess"}).status_code for _ in range(4)] == [401, 401, 401, 429]
    assert door.list_tools(**{"X-API-Key": key}).status_code == 200, "who has a good one does not wait"
    door.later(61)
    assert door.list_tools(**{"X-API-Key": "guess"}).status_code == 401


def test_a_running_server_notices_new_keys_and_revoked_ones(door: Finished, file: ApiKeys) -> None:
    key = with_keys(door, file)
    assert door.list_tools(**{"X-API-Key": key}).status_code == 200
    later = file.add("later", BASIC.split())
    _, left = file.path.read_text().splitlines()
    file.path.write_text(f"{left}\n")
    door.later(1.1)
    assert door.list_tools(**{"X-API-Key": key}).status_code == 401
    assert door.list_tools(**{"X-API-Key": later}).status_code == 200
    file.path.write_text("nonsense")
    door.later(1.1)
    assert door.list_tools(**{"X-API-Key": later}).status_code == 200, "a broken file locks nobody out"


@pytest.mark.parametrize(("sunset", "said"), [(None, None), ("2027-03-31", "Wed, 31 Mar 2027 00:00:00 GMT")])
def test_who_uses_a_key_is_told_that_keys_end(door: Finished, file: ApiKeys, sunset: str | None, said: str) -> None:
    key = with_keys(door, file, api_key_deprecation_warning=sunset or "on")
    answer = door.list_tools(**{"X-API-Key": key})
    assert answer.headers["deprecation"].startswith("@1") and answer.headers["deprecation"][1:].isdigit()
    assert answer.headers.get("sunset") == said
    refused = door.call("rebalance", "", {"X-API-Key": key}, portfolio={})
    assert (refused.status_code, "deprecation" in refused.headers) == (403, True)
    assert "deprecation" not in door.list_tools(door.token()).headers


def test_without_the_warning_nobody_is_told(door: Finished, file: ApiKeys) -> None:
    assert "deprecation" not in door.list_tools(**{"X-API-Key": with_keys(door, file)}).headers


# ── the commands ──────────────────────────────────────────────────────────────


def command(file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"API_KEY_FILE": str(file), "PYTHONDONTWRITEBYTECODE": "1"}
    words = (sys.executable, "-m", "mcp_server", *words)
    return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


def test_a_key_is_made(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    made = command(path, "add-key", "reports", "--scope", BASIC)
    assert made.stdout.startswith("mcpk_") and made.stdout.strip() not in path.read_text() + made.stderr
    [known] = ApiKeys(path).read().values()
    assert (known.about["key"], known.scopes) == ("reports", BASIC.split())
    again = command(path, "add-key", "reports", "--scope", BASIC)
    assert (again.returncode, "reports is taken" in again.stderr) == (1, True)


def test_a_key_that_cannot_be_kept_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "k"
    refused = command(path, "add-key", "reports", "--scope", BASIC)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"{path} cannot be written: No such file or directory.\n"


def test_a_key_that_may_do_nothing_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    refused = command(path, "add-key", "reports")
    scopes = "mcp:tools:sentiment, mcp:resources:customer-data:read, mcp:exec:workflows:rebalance"
    assert refused.stderr == f"A key may do what --scope says: give one or several, like {scopes}.\n"
    assert (refused.returncode, refused.stdout, path.exists()) == (1, "", False)


def test_wrong_settings_are_sentences_and_no_traceback(tmp_path: Path) -> None:
    env = os.environ | {"AUTH_MODE": "none", "LEEWAY": "x"}
    ended = subprocess.run(
        [sys.executable, "-m", "mcp_server"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 2 and "Traceback" not in ended.stderr

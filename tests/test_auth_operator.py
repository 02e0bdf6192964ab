"""What an operator types: it works, says so in words or JSON, and says in a sentence why when it does not."""

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from auth_server.accounts import Accounts
from auth_server.app import create_app
from auth_server.database import Database
from auth_server.directory import Directory, Session, moment
from auth_server.operator import NOT_AS_ARGUMENTS, auth_server, main
from auth_server.settings import Settings
from auth_server.storage import Client, Grant, Store
from shared.stop import Stop
from tests.processes import Ran, environment, free_ports, until
from tools.environment import ROOT

PASSWORD = "correct horse battery"
RESOURCE = "https://mcp.example/mcp"
Do = Callable[..., Ran]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("AS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AS_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def do(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Do:
    """Type a command; what it says, and its exit code."""

    def typed(*words: str, stdin: str | io.TextIOBase = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin) if isinstance(stdin, str) else stdin)
        code = 0
        try:
            main(list(words))
        except SystemExit as stop:
            code = stop.code
        return Ran(code, *capsys.readouterr())

    return typed


def directory_at(data: Path) -> Directory:
    return Directory(Database(f"sqlite:///{data / 'auth_server.db'}"))


def store_at(data: Path) -> Store:
    return Store(Database(f"sqlite:///{data / 'auth_server.db'}"))


def answer(ran: Ran) -> object:
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


# ── users ─────────────────────────────────────────────────────────────────────────────────────────


def test_somebody_is_added_and_may_sign_in(do: Do, data: Path) -> None:
    assert do("users", "list").out == "None yet.\n"
    assert do("users", "add", "carol", stdin=PASSWORD + "\n").out == "added: carol\n"
    assert [one["username"] for one in answer(do("users", "list", "--json"))] == ["carol"]
    directory = directory_at(data)
    known = directory.password_hash("carol")
    assert known.startswith("$argon2id$") and PASSWORD not in known
    assert Accounts(directory).verify(known, PASSWORD)
    assert not Accounts(directory).verify(known, "another")


def test_a_password_is_asked_for_twice_and_not_shown(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    ran = CliRunner().invoke(auth_server, ["users", "add", "carol"], input=f"{PASSWORD}\n{PASSWORD}\n")
    assert ran.exit_code == 0 and "added: carol" in ran.output
    assert PASSWORD not in ran.output
    twisted = CliRunner().invoke(auth_server, ["users", "add", "dave"], input=f"{PASSWORD}\nanother one\n")
    assert twisted.exit_code != 0 and directory_at(data).password_hash("dave") is None


def test_without_a_terminal_a_line_of_input_is_the_password_and_nothing_is_asked(do: Do, data: Path) -> None:
    ran = do("users", "add", "carol", stdin=f"{PASSWORD}\nanother line\n")
    assert (ran.code, ran.out, ran.err) == (0, "added: carol\n", "")
    directory = directory_at(data)
    assert Accounts(directory).verify(directory.password_hash("carol"), PASSWORD)
    nothing = do("users", "add", "dave", stdin="")
    assert (nothing.code, nothing.out, nothing.err) == (1, "", "A password has 8 to 200 characters.\n")


def test_no_option_takes_a_secret() -> None:
    """Everybody on a computer can read what its programs were called with."""
    options = [option for command in commands(auth_server) for option in command.params if option.opts]
    taking = {option.name for option in options if getattr(option, "is_flag", False) is False}
    assert not {name for name in taking if name and ("password" in name or "secret" in name or "token" == name)}
    assert not set(NOT_AS_ARGUMENTS) & taking


def commands(group: object) -> list:
    found = []
    for command in group.commands.values():
        found += commands(command) if hasattr(command, "commands") else [command]
    return found


@pytest.mark.parametrize("password", ["", "1234567", "x" * 201])
def test_a_password_too_short_or_too_long_is_a_sentence(do: Do, password: str) -> None:
    ran = do("users", "add", "carol", stdin=password)
    assert (ran.code, ran.err) == (1, "A password has 8 to 200 characters.\n")


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_password_that_is_no_text_is_a_sentence(do: Do, errors: str) -> None:
    ran = do("users", "add", "carol", stdin=io.TextIOWrapper(io.BytesIO(b"p\xe4ssword\n"), "utf-8", errors))
    assert (ran.code, ran.err) == (1, "The password on standard input is not UTF-8.\n")


@pytest.mark.parametrize("name", ["", " carol", "car\nol", "c" * 201])
def test_an_odd_name_is_a_mistake(do: Do, name: str) -> None:
    ran = do("users", "add", name, stdin=PASSWORD)
    assert ran.code == 2 and "a name has 1 to 200 characters" in ran.err


def test_an_accent_may_be_typed_in_two_ways(do: Do, data: Path) -> None:
    """And a password counts as it is kept, which may be longer than it was typed."""
    assert do("users", "add", "Zoe\u0308", stdin="A\u030angstrom\n").out == "added: Zo\u00eb\n"
    directory = directory_at(data)
    assert Accounts(directory).verify(directory.password_hash("Zo\u00eb"), "\u00c5ngstrom")
    assert "8 to 200 characters" in do("users", "add", "dave", stdin="\ufdfa" * 20).err


def test_somebody_who_is_there_gets_another_password(do: Do, data: Path) -> None:
    do("users", "add", "carol", stdin=PASSWORD)
    directory = directory_at(data)
    directory.add_session("session", Session("carol", 0, 9e9))
    again = do("users", "add", "carol", stdin="another password")
    assert again.out == "changed: carol\nThey have to sign in again.\n"
    assert directory.session("session", 1) is None, "wherever they were signed in, they are not any more"
    assert Accounts(directory).verify(directory.password_hash("carol"), "another password")


def test_who_is_removed_takes_all_that_they_allowed_with_them(do: Do, data: Path) -> None:
    do("users", "add", "carol", stdin=PASSWORD)
    store = store_at(data)
    grant(store, "g", subject="carol")
    assert do("users", "remove", "carol").code == 0
    assert store.grant("g").revoked_at
    assert do("users", "remove", "carol").code == 1


# ── clients and resources ─────────────────────────────────────────────────────────────────────────


def test_a_client_gets_its_secret_once(do: Do, data: Path) -> None:
    made = answer(do("clients", "add", "A web app", "--redirect-uri", "https://app.example/cb", "--json"))
    assert made["client_secret"]
    assert made["grant_types"] == ["authorization_code", "refresh_token"]
    [shown] = answer(do("clients", "list", "--json"))
    assert shown == {name: value for name, value in made.items() if name != "client_secret"} | {
        "kind": "operator",
        "since": shown["since"],
    }
    assert made["client_secret"].encode() not in b"".join(path.read_bytes() for path in data.glob("auth_server.db*"))
    _, listed = do("clients", "list").out.splitlines()
    assert listed.startswith(made["client_id"]) and listed.endswith("A web app")
    assert do("clients", "remove", made["client_id"]).code == 0
    assert do("clients", "remove", made["client_id"]).code == 1


def test_a_public_client_has_no_secret(do: Do) -> None:
    made = answer(do("clients", "add", "An app", "--public", "--redirect-uri", "http://127.0.0.1/cb", "--json"))
    assert made["token_endpoint_auth_method"] == "none" and "client_secret" not in made
    assert made["application_type"] == "native"


def test_a_machine_has_one_grant_and_stays_within_its_scope(do: Do) -> None:
    do("resources", "add", RESOURCE, "--scope", "mcp:tools:echo=Use the echo", "--scope", "mcp:tools:shout=Shout")
    made = answer(do("clients", "add", "Nightly job", "--machine", "--scope", "mcp:tools:echo", "--json"))
    assert made["grant_types"] == ["client_credentials"] and made["redirect_uris"] == []
    assert made["scope"] == "mcp:tools:echo"


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), "RS256"),
        (lambda: ec.generate_private_key(ec.SECP256R1()), "ES256"),
    ],
)
def test_a_machine_can_bring_the_public_half_of_its_key(
    do: Do, tmp_path: Path, make: Callable[[], Any], algorithm: str
) -> None:
    key, file = make(), tmp_path / "public.pem"
    file.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    made = answer(do("clients", "add", "Job", "--machine", "--public-key", str(file), "--json"))
    assert made["token_endpoint_auth_method"] == "private_key_jwt" and "client_secret" not in made
    [jwk] = made["jwks"]["keys"]
    assert jwk["alg"] == algorithm and jwk["kid"] and "d" not in jwk
    jwt.decode(jwt.encode({"a": "b"}, key, algorithm), jwt.PyJWK(jwk))


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"nonsense",
        ec.generate_private_key(ec.SECP384R1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ],
)
def test_a_key_of_another_kind_is_a_sentence_and_says_how_to_make_one(do: Do, tmp_path: Path, pem: bytes) -> None:
    (tmp_path / "key.pem").write_bytes(pem)
    ran = do("clients", "add", "Job", "--machine", "--public-key", str(tmp_path / "key.pem"))
    assert ran.code == 1 and "is no public key in PEM for RS256 or ES256" in ran.err
    assert "openssl pkey -in FILE -pubout" in ran.err and "PRIVATE" not in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ("--redirect-uri", "http://evil.example/"),
        (),
        ("--machine", "--public"),
        ("--machine", "--redirect-uri", "https://app.example/cb"),
        ("--redirect-uri", "https://app.example/cb", "--auth-method", "magic"),
    ],
)
def test_what_the_rules_refuse_an_operator_cannot_register_either(do: Do, words: tuple[str, ...]) -> None:
    ran = do("clients", "add", "An app", *words)
    assert ran.code == 1 and ran.err.startswith("It cannot be registered: ")


def test_a_name_that_a_stranger_chose_does_not_move_the_cursor(do: Do, data: Path) -> None:
    store_at(data).add_client(Client("c", {"client_name": "\x1b[2J\nroot"}), 0, None)
    assert "\x1b" not in do("clients", "list").out


def test_a_name_may_begin_with_a_dash(do: Do, data: Path) -> None:
    """One client_id in 64 does."""
    store_at(data).add_client(Client("-c4Jq", {"client_name": "x"}), 0, None)
    assert do("clients", "remove", "-c4Jq").out.startswith("removed: -c4Jq\n")


def test_a_resource_keeps_its_credentials_until_it_gets_new_ones(do: Do, data: Path) -> None:
    made = answer(do("resources", "add", RESOURCE, "--scope", "mcp:tools:echo=Use the echo", "--json"))
    assert made["introspection_secret"] and made["name"] == "mcp.example"
    changed = answer(do("resources", "add", RESOURCE, "--name", "Tools", "--scope", "a=An a", "--json"))
    assert "introspection_secret" not in changed
    assert changed["introspection_id"] == made["introspection_id"]
    assert (changed["name"], changed["scopes"]) == ("Tools", {"a": "An a"})
    renewed = answer(do("resources", "add", RESOURCE, "--new-credentials", "--json"))
    assert renewed["introspection_id"] != made["introspection_id"] and renewed["scopes"] == {"a": "An a"}
    assert answer(do("resources", "list", "--json"))[0]["resource"] == RESOURCE
    assert do("resources", "remove", RESOURCE).code == 0
    assert do("resources", "remove", RESOURCE).code == 1


@pytest.mark.parametrize(
    "words",
    [
        ("http://mcp.example/mcp", "--scope", "a=An a"),
        ("mcp.example", "--scope", "a=An a"),
        ("https://mcp.example/mcp#x", "--scope", "a=An a"),
        ("https://[x", "--scope", "a=An a"),
        (RESOURCE,),
        (RESOURCE, "--scope", "no sentence"),
        (RESOURCE, "--scope", "two words=A sentence"),
        (RESOURCE, "--scope", 'quo"te=A sentence'),
        (RESOURCE, "--scope", "a="),
    ],
)
def test_a_resource_that_makes_no_sense_is_a_mistake(do: Do, words: tuple[str, ...]) -> None:
    assert do("resources", "add", *words).code == 2


# ── keys and tokens ───────────────────────────────────────────────────────────────────────────────


def test_keys_are_rotated_and_retired(do: Do) -> None:
    before = answer(do("keys", "list", "--json"))
    assert sorted(one["algorithm"] for one in before) == ["ES256", "RS256"]
    new = answer(do("keys", "rotate", "--json"))["new"]
    after = answer(do("keys", "list", "--json"))
    assert {one["kid"] for one in after} == {one["kid"] for one in before} | set(new)
    listed = do("keys", "list").out.splitlines()
    assert listed[0].split() == ["kid", "algorithm", "state", "signs_from", "published_until"]
    assert {line.index("Z") for line in listed[1:]} == {listed[0].index("signs_from") + len("2026-01-01T00:00:00")}
    assert sum("  next   " in line for line in listed) == 2
    retired = do("keys", "retire", before[0]["kid"])
    assert retired.code == 0 and "MCP servers refuse what it signed when they next read our keys" in retired.out
    assert before[0]["kid"] not in do("keys", "list").out
    assert do("keys", "retire", before[0]["kid"]).code == 1


def test_whatever_signs_has_begun(do: Do) -> None:
    first = {one["algorithm"]: one["kid"] for one in answer(do("keys", "list", "--json"))}["RS256"]
    do("keys", "rotate")
    do("keys", "retire", first)
    [one] = [one for one in answer(do("keys", "list", "--json")) if one["algorithm"] == "RS256"]
    assert one["state"] == "signs" and one["signs_from"] <= moment(time.time()) and one["kid"] != first


def grant(store: Store, grant_id: str, subject: str = "alice", client_id: str = "c", remember: bool = False) -> None:
    store.add_ask(grant_id, {}, "b", 9e9)
    code = {"code": grant_id, "redirect_uri": "u", "code_challenge": "c", "expires_at": 9e9}
    store.answer_ask(grant_id, Grant(grant_id, client_id, subject, "r", "s", 0, 9e9), code, 0, remember)


def test_what_was_given_is_taken_back_by_person_client_or_grant(do: Do, data: Path) -> None:
    do("users", "list")
    store = store_at(data)
    grants = {"1": ("alice", "c"), "2": ("alice", "d"), "3": ("bob", "c"), "4": ("bob", "d")}
    for grant_id, (subject, client_id) in grants.items():
        grant(store, grant_id, subject, client_id)
    assert answer(do("tokens", "revoke", "--user", "alice", "--client", "c", "--json")) == {"ended": 1}
    assert answer(do("tokens", "revoke", "--client", "c", "--json")) == {"ended": 1}
    assert answer(do("tokens", "revoke", "--grant", "2", "--json")) == {"ended": 1}
    directory_at(data).put_person("alice", "a hash", 0)
    assert answer(do("tokens", "revoke", "--user", "alice", "--json")) == {"ended": 0}
    assert answer(do("tokens", "revoke", "--client", "c", "--json")) == {"ended": 0}, "known by what it once had"
    assert [bool(store.grant(name).revoked_at) for name in "1234"] == [True, True, True, False]
    assert do("tokens", "revoke").code == 2, "it must be said whose"


def test_what_an_operator_takes_back_is_asked_again(do: Do, data: Path) -> None:
    for name in ("alice", "bob"):
        do("users", "add", name, stdin=PASSWORD)
    store, url = store_at(data), "https://editor.example/client.json"
    for number, (subject, client_id) in enumerate([("alice", "c"), ("bob", "c"), ("alice", url), ("bob", "d")]):
        grant(store, str(number), subject, client_id, remember=True)
    do("tokens", "revoke", "--user", "alice", "--client", "c")
    assert (store.consent("alice", "c", "r"), store.consent("bob", "c", "r")) == ([], ["s"]), "by both"
    do("tokens", "revoke", "--client", "c")
    assert store.consent("bob", "c", "r") == []
    store.end_grants(0, client_id=url)
    removed = do("clients", "remove", url)
    assert (removed.code, removed.out.splitlines()[0]) == (0, f"ended: {url}"), "only its document can be removed"
    assert store.consent("alice", url, "r") == []
    assert do("clients", "remove", url).code == 1
    assert store.consent("bob", "d", "r") == ["s"]


@pytest.mark.parametrize(("option", "what"), [("--user", "user"), ("--client", "client"), ("--grant", "grant")])
def test_who_is_not_there_has_nothing_to_take_back(do: Do, option: str, what: str) -> None:
    ran = do("tokens", "revoke", option, "alcie")
    assert (ran.code, ran.out, ran.err) == (1, "", f"There is no {what} 'alcie' here.\n")


def test_who_takes_something_back_learns_how_long_it_lives_on(do: Do, data: Path) -> None:
    do("users", "add", "alice", stdin=PASSWORD)
    note = "Access tokens that a resource server checks by itself live on: 600 seconds at most.\n"
    assert do("tokens", "revoke", "--user", "alice").out == "ended: 0\n" + note
    assert do("users", "remove", "alice").out == "removed: alice\n" + note


@pytest.mark.parametrize(
    "words", [("--json", "users", "list"), ("users", "--json", "list"), ("users", "list", "--json")]
)
def test_json_may_be_asked_for_anywhere(do: Do, words: tuple[str, ...]) -> None:
    assert answer(do(*words)) == []


# ── settings ──────────────────────────────────────────────────────────────────────────────────────


def test_every_mistake_in_the_settings_is_a_sentence(do: Do, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('issuer = "http://as.example"\ncolour = "blue"\ntoken_lifetime = "long"\n')
    monkeypatch.setenv("AS_CODE_LIFETIME", "601")
    ran = do("run", "--config", str(file))
    assert ran.code == 2 and ran.out == ""
    assert sorted(ran.err.splitlines()) == [
        "There is no setting 'colour'.",
        "code_lifetime must be 1 to 600 seconds (OAuth 2.1 §4.1.2).",
        "issuer 'http://as.example' must be https: http is for this computer alone (OAuth 2.1 §1.5).",
        "token_lifetime must be a whole number.",
    ]


def test_a_variable_that_is_misspelt_is_not_ignored(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AS_TOKEN_LIFETME", "60")
    monkeypatch.setenv("AS_PORT", "9801")
    ran = do("users", "list")
    wanted = "There is no setting 'AS_TOKEN_LIFETME'. Did you mean 'AS_TOKEN_LIFETIME'?\n"
    assert (ran.code, ran.out, ran.err) == (2, "", wanted)


@pytest.mark.parametrize("words", [("--config", "nowhere.toml"), ("run", "--config", "nowhere.toml")])
def test_a_file_that_is_not_there_is_a_sentence(do: Do, words: tuple[str, ...]) -> None:
    ran = do(*words)
    assert (ran.code, ran.err) == (2, "nowhere.toml cannot be read: No such file or directory.\n")


def test_the_demo_is_for_this_computer(do: Do) -> None:
    ran = do("--demo", "--issuer", "https://as.example", "--proxies", "10.0.0.1")
    assert ran.code == 2 and "demo is for this computer alone" in ran.err


HTTPS_HERE = {"issuer": "https://localhost:9000", "certificate": "c", "key": "k"}
BEHIND = {"issuer": "https://as.example", "proxies": "10.0.0.5"}
NONSENSE = [
    ("demo is for this computer alone", HTTPS_HERE | {"demo": True, "listen": "0.0.0.0:9000"}),
    ("demo is for this computer alone", HTTPS_HERE | {"demo": True, "listen": "[::]:9000"}),
    ("demo is for this computer alone", {"demo": True, "database": "sqlite:///people.db"}),
    *(("issuer .* must be a URL", {"issuer": f"http://localhost{odd}"}) for odd in (":99999", ":abc", ":0", ":")),
    *(("issuer .* must be a URL", {"issuer": f"http://localhost{odd}"}) for odd in ("/{x}", "/a%20b", "/ä", "/a/")),
    *(("issuer .* must be a URL", {"issuer": f"http://{odd}"}) for odd in ("[::1", "[::1]x")),
    ("issuer .* must be a URL", BEHIND | {"issuer": "https://bücher.example"}),
    *(("listen .* must be HOST:PORT", {"listen": odd}) for odd in (":9611", "0.0.0.0:x", "[::1", "localhost:99999")),
    *((f"{name} must be at least 1", {name: -5}) for name in ("requests_per_window", "failures_per_window")),
    ("unused_client_lifetime must be at least 1", {"unused_client_lifetime": 0}),
    ("key_overlap must be at least 0", {"key_overlap": -9}),
    ("requests_per_window must be at least 1, and have nine digits at most", {"requests_per_window": 10**30}),
    *(
        ("proxies must be addresses", BEHIND | {"proxies": odd})
        for odd in ("nonsense", "*", "10.0.0.5,", "10.0.0.5/24")
    ),
]


@pytest.mark.parametrize(("why", "named"), NONSENSE)
def test_nonsense_in_the_settings_is_a_sentence(why: str, named: dict[str, object]) -> None:
    with pytest.raises(Stop, match=why) as stop:
        Settings.load({}, **named)
    assert "\n" not in str(stop.value), "one for one mistake"


@pytest.mark.parametrize(
    "issuer", ["http://[::1]:9000", "http://127.0.0.1", "http://localhost:9000/a/b-c_d.e~1", "https://auth_server"]
)
def test_good_places_are_taken(issuer: str) -> None:
    proxies = "10.0.0.5, 2001:db8::1,10.1.0.0/16"
    assert Settings.load({}, issuer=issuer, proxies=proxies, listen="localhost:9611", key_overlap=0)


def test_a_demo_does_not_begin_where_others_have_accounts(do: Do, data: Path) -> None:
    do("users", "add", "carol", stdin=PASSWORD)
    with pytest.raises(Stop, match="carol.*demo"):
        create_app(Settings.load({}, data=str(data), demo=True))


@pytest.mark.parametrize("url", ["nonsense", "nosuch://x/y", "postgresql+nosuch://u:a-secret@h/d"])
def test_a_database_that_is_none_is_a_sentence(do: Do, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AS_DATABASE", url)
    ran = do("users", "list")
    assert ran.code == 2 and ran.err.startswith("The database ") and "a-secret" not in ran.err


def test_every_setting_is_in_the_help_and_in_the_readme(do: Do) -> None:
    said, readme = do("run", "--help").out, (ROOT / "auth_server" / "README.md").read_text(encoding="utf-8")
    for about in dataclasses.fields(Settings):
        if about.name not in NOT_AS_ARGUMENTS:
            assert f"--{about.name.replace('_', '-')}" in said
        default = json.dumps(about.default) if about.name != "issuer" else '"http://localhost:9000"'
        assert f"| `{about.name}` | `{default}` | {about.metadata['says']} |" in readme


# ── as a process ──────────────────────────────────────────────────────────────────────────────────


def test_it_runs_takes_orders_meanwhile_and_ends_quietly(data: Path) -> None:
    port = free_ports()["AS_PORT"]
    command = [sys.executable, "-m", "auth_server"]
    surroundings = environment(AS_DATA=str(data), AS_AUDIT=str(data / "audit.log"))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    server = subprocess.Popen([*command, "--demo"], cwd=ROOT, env=surroundings, **pipes)
    try:
        assert until(lambda: is_ready(port) or server.poll() is not None)
        once_more = subprocess.run([*command, "--demo"], cwd=ROOT, env=surroundings, timeout=30, **pipes)
        assert once_more.returncode == 1
        assert once_more.stderr.splitlines()[-1].startswith(f"Port {port} is taken by another program")
        words = [*command, "users", "add", "carol"]
        added = subprocess.run(words, input=PASSWORD, cwd=ROOT, env=surroundings, timeout=30, **pipes)
        assert added.stdout == "added: carol\n"
        listed = subprocess.run([*command, "users", "list", "--json"], cwd=ROOT, env=surroundings, timeout=30, **pipes)
        assert [one["username"] for one in json.loads(listed.stdout)] == ["alice", "bob", "carol"]
    finally:
        server.send_signal(signal.SIGINT)
        said = server.communicate(timeout=30)
    assert said[1] == f"auth_server  listening on http://localhost:{port}\n" and said[0] == ""


def is_ready(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://localhost:{port}/ready", timeout=1) as found:
            return found.status == 200
    except OSError:
        return False


def test_a_scope_that_no_resource_has_is_a_typo(do: Do) -> None:
    do("resources", "add", RESOURCE, "--scope", "mcp:tools:echo=Use the echo")
    ran = do("clients", "add", "Job", "--machine", "--scope", "mcp:tools:ecko")
    assert (ran.code, ran.err) == (1, "No resource has the scope mcp:tools:ecko. There are: mcp:tools:echo.\n")
    assert answer(do("clients", "list", "--json")) == []


@pytest.mark.parametrize("name", ["failures_per_window", "requests_per_window", "purge_every", "session_lifetime"])
def test_never_and_not_at_all_are_no_settings(name: str) -> None:
    with pytest.raises(Stop, match=f"{name} must be at least 1."):
        Settings.load({f"AS_{name.upper()}": "0"})


def test_what_everybody_knows_the_passwords_of_lives_apart() -> None:
    assert Settings.load({}, demo=True).data == "data/demo" != Settings.load({}).data
    assert Settings.load({}, demo=True, data="elsewhere").data == "elsewhere"

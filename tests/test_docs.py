"""The pages in `docs` are true: links lead somewhere, names are those of the code, and what belongs there is there."""

import re
import warnings
from pathlib import Path

import pytest
from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken, AuthorizationParams
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.shared.auth import OAuthClientInformationFull
from mcp.shared.auth_utils import check_resource_allowed
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tools.catalogue import all_steps
from tools.cli import VERBS
from tools.environment import ROOT

DOCS = ROOT / "docs"
ALL = sorted(DOCS.glob("*.md"))
OURS = [path for path in ALL if path.name != "errors.md"]  # that one is written by a program, and tested with it
OUR_FOLDERS = ("steps", "shared", "attacks", "tests", "tools", "docs", "exhibits", "checks")
COLUMNS = 116  # of running text; a row of a table is as long as it is

HOME = {  # what was promised to stand here: where, and the words that say it
    "F0-01": ("roles.md", "Authorization is **optional** in MCP"),
    "F0-02": ("roles.md", "| user consent and control |"),
    "F0-03": ("roles.md", "| MCP server = resource server |"),
    "F0-17": ("coming-from-simple-auth.md", "## Run it, step by step"),
    "F0-18": ("roles.md", "| in the specification | does | our program |"),
    "F0-29": ("where-next.md", "modelcontextprotocol/issues/205"),
    "F1-15": ("roles.md", "| foundation | [01] |"),
    "F1-21": ("roles.md", "| group | steps | what each teaches |"),
    "F1-22": ("where-next.md", "## Agents"),
    "F2-02": ("roles.md", "at the **transport level**, on behalf of the **resource owner**"),
    "F2-03": ("roles.md", "## Three phases"),
    "F2-16": ("roles.md", "sequenceDiagram"),
    "F2-18": ("where-next.md", "## Somebody else's authorization server"),
    "F4-20": ("where-next.md", "## A client of your own"),
    "F4-26": ("where-next.md", "## What to watch"),
    "F4-30": ("where-next.md", "rfc9700"),
}

of_all = pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
of_ours = pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def in_code_letters(path: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", without_blocks(text_of(path)))


def links(path: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "code", without_blocks(text_of(path)))
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.M)


def anchor(heading: str) -> str:
    """How GitHub makes the name of a heading: small letters, no punctuation, dashes for blanks."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", without_blocks(text_of(path)), re.M)}


def rows(path: Path) -> list[list[str]]:
    """The rows of all tables, without their heads and rules."""
    lines = text_of(path).splitlines()
    found = [n for n, line in enumerate(lines) if line.startswith("|")]
    heads = {n for n in found if set(lines[n]) <= set("|- ")} | {n - 1 for n in found if set(lines[n]) <= set("|- ")}
    return [[cell.strip() for cell in lines[n].strip("|").split("|")] for n in found if n not in heads]


# ── links ─────────────────────────────────────────────────────────────────────


@of_all
def test_every_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    for target in links(path):
        if target.startswith("https://"):
            continue
        name, _, heading = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), target
        assert not heading or heading in anchors(there), target


@of_ours
def test_every_step_that_is_linked_is_that_step(path: Path) -> None:
    defined = dict(re.findall(r"^\[(0\d)\]: (\S+)$", text_of(path), re.M))
    used = set(re.findall(r"\[(0\d)\](?!:)", without_blocks(text_of(path))))
    assert used <= set(defined), used - set(defined)
    for number, target in defined.items():
        assert (path.parent / target).resolve() == all_steps()[number].path / "README.md"


def test_the_list_of_pages_names_every_page() -> None:
    listed = {row[0].partition("](")[2].rstrip(")") for row in rows(DOCS / "README.md")}
    assert listed == {path.name for path in ALL} - {"README.md"}


def test_a_heading_is_named_as_github_names_it() -> None:
    assert anchor("Somebody else's authorization server") == "somebody-elses-authorization-server"
    assert anchor("01 · `client_id`, again") == "01--client_id-again"


# ── names ─────────────────────────────────────────────────────────────────────


@of_ours
def test_every_path_in_code_letters_exists(path: Path) -> None:
    for name in in_code_letters(path):
        if re.fullmatch(rf"({'|'.join(OUR_FOLDERS)})/[\w./-]*", name):
            assert (ROOT / name).exists(), name


@of_ours
def test_every_command_can_be_typed(path: Path) -> None:
    targets = re.findall(r"^([a-z]+(?:-%)?):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for name in in_code_letters(path):
        if made := re.match(r"make ([a-z]+)(-[0…][\d]?)?", name):
            assert made[1] + ("-%" if made[2] else "") in targets, name
        if said := re.match(r"python -m steps ([a-z-]+)", name):
            assert said[1] in VERBS, name


@of_ours
def test_a_name_in_a_file_is_in_that_file(path: Path) -> None:
    """`name` in `file.py`: in every step that the row names, else in the newest."""
    for cells in [[line] for line in text_of(path).splitlines() if not line.startswith("|")] + rows(path):
        text = " | ".join(cells)
        numbers = re.findall(r"\[(0\d)\]", text) or ["08"]
        for names, file in re.findall(r"((?:`\w+`(?:, | and )?)+) in `([\w/]+\.py)`", text):
            there = [ROOT / file] if "/" in file else [all_steps()[number].path / file for number in numbers]
            sources = "".join(text_of(one) for one in there if one.exists())
            for name in re.findall(r"`(\w+)`", names):
                assert re.search(rf"^(async )?(def|class) {name}\b|^{name}\b.* = ", sources, re.M), f"{name}: {there}"


@of_ours
def test_running_text_is_not_wider_than_a_page(path: Path) -> None:
    wide = [line for line in text_of(path).splitlines() if len(line) > COLUMNS and "|" not in line and "](" not in line]
    assert not wide


# ── what stands here ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("promise", HOME)
def test_what_was_promised_to_stand_here_does(promise: str) -> None:
    page, words = HOME[promise]
    assert words in text_of(DOCS / page)


def test_every_word_of_the_glossary_says_where_it_stands_and_where_it_matters() -> None:
    found = rows(DOCS / "glossary.md")
    words = [row[0].replace("`", "").lower() for row in found]
    assert words == sorted(words, key=lambda word: word.replace("_", " ")), "a glossary is read by the alphabet"
    assert len(set(words)) == len(words)
    for word, says, section, step in found:
        assert says.endswith("."), word
        assert re.search(r"(RFC \d{4}|OAuth 2\.1) §\d|^MCP |^RFC \d{4}$|^draft-ietf-", section), word
        assert re.fullmatch(r"\[0\d\]|not in the steps", step), word


def test_a_word_of_the_glossary_that_is_spelled_as_on_the_wire_is_in_its_step() -> None:
    for word, _, _, step in rows(DOCS / "glossary.md"):
        if named := re.fullmatch(r"`(\w+)`", word):
            sources = "".join(text_of(one) for one in all_steps()[step.strip("[]")].path.glob("*.py"))
            assert f'"{named[1]}"' in sources, word


def test_every_topic_says_something_of_each_revision_and_where_it_is_shown() -> None:
    found = rows(DOCS / "revisions.md")
    assert len(found) > 25
    for row in found:
        assert len(row) == 6 and all(row), row
        assert "](" in row[5] or "[0" in row[5], row


def test_the_revisions_are_those_of_the_steps() -> None:
    here = set(re.findall(r"\b20\d\d-\d\d-\d\d\b", text_of(DOCS / "revisions.md")))
    for step in all_steps().values():
        boxes = text_of(step.path / "README.md").partition("## Other revisions")[2].partition("\n## ")[0]
        assert set(re.findall(r"\b20\d\d-\d\d-\d\d\b", boxes)) == here, step.number


# ── what is said of the SDK ───────────────────────────────────────────────────

ORIGIN, RESOURCE = "http://localhost:8001", "http://localhost:8001/mcp"
ASK = {"response_type": "code", "client_id": "a", "redirect_uri": "http://localhost:3030/callback", "state": "s"}
ABOUT_US = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a test", "version": "0"}}
INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": ABOUT_US}


class Provider:
    """As little of the example's provider as is asked here: who registers is known, and may go on to sign in."""

    async def get_client(self, client_id: str) -> OAuthClientInformationFull:
        return OAuthClientInformationFull(client_id=client_id, redirect_uris=[ASK["redirect_uri"]])

    async def register_client(self, client: OAuthClientInformationFull) -> None: ...

    async def authorize(self, client: OAuthClientInformationFull, asked: AuthorizationParams) -> str:
        return "http://localhost:9000/login"


def sdk_auth_server() -> TestClient:
    options = ClientRegistrationOptions(enabled=True)
    routes = create_auth_routes(Provider(), AnyHttpUrl("http://localhost:9000"), client_registration_options=options)
    return TestClient(Starlette(routes=routes), follow_redirects=False)


def answer_of_sdk(made_for: str | None, *sent: str, scope: str = "user", **settings: bool):
    """What a server behind the SDK's check says, when one token is known and these `Authorization` headers are sent."""

    class Verifier:
        async def verify_token(self, token: str) -> AccessToken | None:
            known = AccessToken(token=token, client_id="a", scopes=[scope], resource=made_for)
            return known if token == "known" else None

    addresses = {"issuer_url": "http://localhost:9000", "resource_server_url": RESOURCE}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        auth = AuthSettings(required_scopes=["user"], **addresses, **settings)
        app = MCPServer("a test", auth=auth, token_verifier=Verifier()).streamable_http_app()
    headers = [("Accept", "application/json, text/event-stream"), *(("Authorization", one) for one in sent)]
    with TestClient(app, ORIGIN) as http:
        return http.post("/mcp", json=INITIALIZE, headers=headers)


@pytest.mark.parametrize("uri", ["http://evil.example/cb", "javascript:alert(1)", "https://app.example/cb#x"])
def test_the_sdk_registers_any_address(uri: str) -> None:
    registered = sdk_auth_server().post("/register", json={"redirect_uris": [uri]})
    assert registered.status_code == 201 and registered.json()["token_endpoint_auth_method"] == "client_secret_post"


def test_the_sdk_accepts_a_challenge_of_three_letters_and_any_resource() -> None:
    ask = ASK | {"code_challenge": "abc", "code_challenge_method": "S256", "resource": "https://nobody.example"}
    assert sdk_auth_server().get("/authorize", params=ask).headers["location"] == "http://localhost:9000/login"


def test_the_sdk_announces_refresh_and_neither_public_clients_nor_iss() -> None:
    metadata = sdk_auth_server().get("/.well-known/oauth-authorization-server").json()
    assert metadata["issuer"] == "http://localhost:9000/" and "refresh_token" in metadata["grant_types_supported"]
    assert "none" not in metadata["token_endpoint_auth_methods_supported"]
    assert "authorization_response_iss_parameter_supported" not in metadata


def test_the_sdk_takes_a_token_for_another_server_unless_told_not_to() -> None:
    for made_for in ("http://localhost:8002/mcp", None):
        assert answer_of_sdk(made_for, "Bearer known").status_code == 200
        assert answer_of_sdk(made_for, "Bearer known", validate_token_resource=True).status_code == 401


def test_the_sdk_says_invalid_token_where_none_came_and_never_names_scopes() -> None:
    for answer, error in (
        (answer_of_sdk(RESOURCE), "invalid_token"),
        (answer_of_sdk(RESOURCE, "Bearer known", scope="less"), "insufficient_scope"),
    ):
        challenge = answer.headers["www-authenticate"]
        assert f'error="{error}"' in challenge and "scope=" not in challenge


def test_the_sdk_reads_the_first_of_two_authorization_headers() -> None:
    assert answer_of_sdk(RESOURCE, "Bearer known", "Bearer other").status_code == 200
    assert answer_of_sdk(RESOURCE, "Bearer other", "Bearer known").status_code == 401


def test_for_the_sdk_a_parent_counts_and_a_child_does_not() -> None:
    assert check_resource_allowed(requested_resource=RESOURCE, configured_resource=ORIGIN)
    assert not check_resource_allowed(requested_resource=ORIGIN, configured_resource=RESOURCE)

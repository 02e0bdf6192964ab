"""What step 07 promises: what a patient attacker tries next, and why it does not work."""

import contextlib
import json
import os

from attacks.core import NotHere, answer_in, denied_for_now
from attacks.endpoints import revoke
from attacks.hostile import EVIL
from attacks.pages import ALICE, SCRIPT, only_text, set_cookies
from attacks.transport import ran
from attacks.world import World, listening_to_logs
from checks.core import check, client, expect, expect_denied, expect_page, expect_refused, expect_status, expect_stopped
from checks.step_05 import in_this_process
from checks.step_06 import refreshable
from shared.addresses import ISSUER

A_MINUTE = 61  # seconds
ASK_LIFETIME = 601  # seconds: what the lesson gives a person to answer, and one more
FROM_A_PICTURE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
FROM_A_LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
TYPED_IN_THE_WRONG_FIELD = "correct horse battery staple"


@check(
    "07",
    "A person can answer two pages that are open at once, each with a cookie of its own that no script can read.",
    section="RFC 6749 §10.12; MCP security best practices",
    rule="this_browser",
    file="auth_server.py",
    hints=(
        "Look at authorize and this_browser in auth_server.py: which cookie comes with the page?",
        "Set a cookie for each page, under a name of its own: HttpOnly, SameSite=Lax, Secure where there is TLS.",
    ),
)
def two_pages(world: World) -> None:
    client_id, browser = world.register()["client_id"], world.browser()
    ask = world.ask(client_id)
    expect(set_cookies(browser.get("/authorize", params=ask)), "The consent page comes without a cookie.")
    expect_stopped(world, "ATK-161")
    for fields in [world.page(ask, browser) for _ in range(2)]:
        answer = browser.post("/consent", data=fields | ALICE)
        expect("code" in answer_in(answer), f"Of two open pages, one could not be answered: {answer.status_code}.")
        token = world.redeem(client_id, answer_in(answer)["code"]).raise_for_status().json()["access_token"]
        expect("Ada" in world.read(token, "customers://c-1").text, "alice cannot read her own customer, c-1.")


@check(
    "07",
    "A code that is used again ends the refresh token that it has bought.",
    section="OAuth 2.1 §4.1.3, §7.5.3",
    rule="code_used_once",
    file="tokens.py",
    hints=(
        "Look at CODE_REPLAY_RULES and redeem_code in tokens.py: what is remembered of a code that was used?",
        "Keep a used code for as long as it would have lived. Who brings it again, with the right verifier, ends "
        "whatever came of that consent, and hears invalid_grant.",
    ),
)
def code_replayed(world: World) -> None:
    refreshable(world)
    expect_stopped(world, "ATK-001")


@check(
    "07",
    "A refresh token that is used again ends all that came of that consent, and no other.",
    section="OAuth 2.1 §4.3.1, RFC 9700 §4.14.2",
    rule="refresh_token_used_once",
    file="tokens.py",
    hints=(
        "Look at REFRESH_REPLAY_RULES in tokens.py: what is remembered of a refresh token that was used?",
        "Give every consent a family and keep used refresh tokens: the second use of one ends its family.",
    ),
)
def refresh_replayed(world: World) -> None:
    refreshable(world)
    expect_stopped(world, "ATK-101")


@check(
    "07",
    "A client can give its refresh token back, and only its own.",
    section="RFC 7009 §2.1, §2.2",
    rule="revoke",
    file="tokens.py",
    hints=(
        "Look at revoke in tokens.py: who asks, and whose token is it?",
        "Authenticate the client, end the family of its token, and answer 200 even if there is no such token. An "
        "access token cannot be given back: unsupported_token_type.",
    ),
)
def given_back(world: World) -> None:
    refreshable(world)
    expect("revocation_endpoint" in world.announced(), "The metadata names no revocation_endpoint.")
    expect_stopped(world, "ATK-184", "ATK-181", "ATK-182")
    answer = revoke(world, "no such token", client_id=world.register()["client_id"])
    expect(answer.headers.get("cache-control") == "no-store", "The answer of /revoke may be stored.")


@check(
    "07",
    "A consent page is answered in time, and by the browser that it was shown in.",
    section="RFC 6749 §10.12",
    rule="CONSENT_RULES",
    file="auth_server.py",
    hints=(
        "Look at CONSENT_RULES in auth_server.py: what does each of them compare?",
        "The cookie that came with the page must come back with the answer, and within ten minutes.",
    ),
)
def this_browser_in_time(world: World) -> None:
    ask = world.ask(world.register()["client_id"])
    fields, other = world.page(ask), world.browser()
    for decision in ("allow", "deny"):
        expect_page(other.post("/consent", data=fields | ALICE | {"decision": decision}))
    own = world.auth.post("/consent", data=fields | ALICE)
    expect("code" in answer_in(own), "Another browser's attempt took the page away from the one it was shown in.")
    left_open = world.page(ask)
    with contextlib.suppress(NotHere):
        world.later(ASK_LIFETIME)
        expect_page(world.auth.post("/consent", data=left_open | ALICE))


@check(
    "07",
    "No other site can frame a page of ours, and no script can run in one.",
    section="RFC 9700 §4.16, OAuth 2.1 §7.11",
    rule="ON_PAGES",
    file="auth_server.py",
    hints=(
        "Look at ON_PAGES in auth_server.py, and at the headers of /authorize, with and without an error.",
        "Every page and every redirect forbids frames, by Content-Security-Policy and by X-Frame-Options, and its "
        "policy allows nothing but our own style sheet.",
    ),
)
def page_headers(world: World) -> None:
    expect_stopped(world, "ATK-152")
    client_id = world.register(client_name=SCRIPT)["client_id"]
    expect_refused(only_text(world.auth.get("/authorize", params=world.ask(client_id))))


@check(
    "07",
    "Nobody is sent to another computer before having signed in, neither with an error nor by Deny.",
    section="OAuth 2.1 §7.12.2",
    rule="stays_on_this_computer",
    file="auth_server.py",
    hints=(
        "Look at BEFORE_SIGNING_IN in auth_server.py, and at the two places where somebody is sent back without "
        "a password.",
        "If the redirect_uri is not on this computer, show the error as a page that names its host.",
    ),
)
def sent_nowhere(world: World) -> None:
    expect_stopped(world, "ATK-028")


@check(
    "07",
    "What another website's page sends is refused before anybody looks at it, and so is another server's name.",
    section="RFC 9110 §7.4; MCP 2026-07-28, transports",
    rule="own_origin",
    file="hardening.py",
    hints=(
        "Look at REQUEST_RULES in hardening.py, and at where Hardened stands in both servers.",
        "Host must be our own (421). Origin, if there is one, must be ours (403); null is for /consent alone. A "
        "cross-site request that is no navigation is a picture: 403.",
    ),
)
def meant_for_others(world: World) -> None:
    expect_stopped(world, "ATK-091", "ATK-092")
    foreign = world.auth.post("/token", data={"grant_type": "authorization_code"}, headers={"Origin": EVIL})
    expect_status(foreign, 403)
    ask = world.ask(world.register()["client_id"])
    picture = world.auth.get("/authorize", params=ask, headers=FROM_A_PICTURE)
    expect_denied(picture, (403, "invalid_request"))
    expect_status(world.auth.get("/authorize", params=ask, headers=FROM_A_LINK), 200)


@check(
    "07",
    "Twenty wrong guesses in a minute are enough: then it is 429, with a word on when to come back.",
    section="OAuth 2.1 §7.7, RFC 6585 §4",
    rule="not_too_often",
    file="hardening.py",
    hints=(
        "Look at not_too_often, count and take_back in hardening.py.",
        "Count what fails by address and path; from the limit on it is 429 with Retry-After, for a minute. Who "
        "succeeds is not counted.",
    ),
)
def guesses(world: World) -> None:
    world.later(A_MINUTE)  # whoever cannot turn the clock would be shut out afterwards
    client_id = world.register()["client_id"]
    code = world.code(client_id)
    try:
        guessed = [world.redeem(client_id, f"guess {number}") for number in range(20)]
        lucky = world.redeem(client_id, code)
    finally:
        world.later(A_MINUTE)
    expect(all(answer.status_code == 400 for answer in guessed), "Fewer than twenty guesses were stopped.")
    expect_refused(denied_for_now(lucky))
    expect_status(world.redeem(client_id, world.code(client_id)), 200)


@check(
    "07",
    "What belongs to one person is shown to no other, though the server itself could see it all.",
    section="MCP security best practices",
    rule="looks_after",
    file="mcp_server.py",
    hints=(
        "Look at RECORD_RULES, customer and watchlist in mcp_server.py: for whom do they ask?",
        "Compare the record's adviser with the person in the token, and look a handle up together with the person. "
        "What is not theirs must look like what does not exist.",
    ),
)
def somebody_elses(world: World) -> None:
    expect_stopped(world, "ATK-201")
    kept = world.call(world.access_token(), "keep_watchlist", companies=["ACME"])
    expect(ran(kept), f"The tool keep_watchlist did not run: {kept.status_code} {kept.text[:100]}")
    expect_stopped(world, "ATK-088")


@check(
    "07",
    "A token is taken in the header alone: a second one in the body is one too many.",
    section="OAuth 2.1 §5.1, §5.3.2",
    rule="BODY_RULES",
    file="scopes.py",
    hints=(
        "Look at BODY_RULES in scopes.py, and at checked in mcp_server.py.",
        "A message with a member access_token is 400 invalid_request, whatever that token is worth.",
    ),
)
def second_token(world: World) -> None:
    expect_stopped(world, "ATK-080")


@check(
    "07",
    "The user's token goes no further than its door: the API behind takes the server's own, and no other.",
    section="MCP 2026-07-28, security",
    rule="customer",
    file="upstream.py",
    hints=(
        "Look at customer in upstream.py, and at the header that customer in mcp_server.py sends there.",
        "The MCP server has a token of its own for the API, which compares it as a secret; all others get 401.",
    ),
)
def token_stays_here(world: World) -> None:
    home = in_this_process(world, "the API behind the MCP server")
    expect("upstream.py" in home.step.files, "There is no upstream.py, the API behind the MCP server.")
    expect(hasattr(home.mcp_server, "http"), "mcp_server.py has no http, the AsyncClient to ask the API with.")
    expect_stopped(home, "ATK-202")


@check(
    "07",
    "The audit log says who, which client and why, and holds no secret, not even one typed into the wrong field.",
    section="own",
    rule="audit",
    file="hardening.py",
    hints=(
        "Look at audit and write_down in hardening.py, and at who calls write_down with what.",
        "Write one JSON object per request to the logger audit. Names of people and clients go into it if they are "
        "known, and only then: what somebody typed may be a password.",
    ),
)
def audited(world: World) -> None:
    home = in_this_process(world, "the logs of the servers")
    with listening_to_logs() as said:
        client_id = home.register()["client_id"]
        home.consent(home.ask(client_id), username=TYPED_IN_THE_WRONG_FIELD)
        home.call(home.tokens(client_id)["access_token"], "whoami")
        home.redeem(client_id, "a code that never was")
    secrets = (home.secrets - {"a code that never was"}) | {TYPED_IN_THE_WRONG_FIELD}
    expect(not any(secret in line for secret in secrets for line in said), "A secret stands in a log.")
    lines = [json.loads(line) for line in said if line.startswith("{")]
    refused = [line for line in lines if line.get("what") == "POST /token" and line.get("status") == 400]
    expect(refused, "A refused request at /token left no line in the audit log.")
    complete = refused[0].get("client") == client_id and "invalid_grant" in str(refused[0].get("reason"))
    expect(complete, "The line of a refused request says not which client, or not why.")
    known = any((line.get("who"), line.get("client")) == ("alice", client_id) for line in lines)
    expect(known, "No line says that alice was there, through that client.")


# ── the client ────────────────────────────────────────────────────────────────────────────────────


@check(
    "07",
    "The client goes to https or to this computer, and to no other address that a document names.",
    section="OAuth 2.1 §1.5, RFC 9728 §7.7",
    rule="check_address",
    file="discovery.py",
    hints=(
        "Look at check_address and safe_endpoints in discovery.py: who calls them, and before what?",
        "Check every address before it is asked or opened: metadata, every endpoint, the page for the user.",
    ),
)
def safe_addresses(world: World) -> None:
    expect_stopped(world, "ATK-166", "ATK-167")


@check(
    "07",
    "The client keeps its tokens in a file for its owner alone, and tells no server what another one gave.",
    section="MCP 2026-07-28, security",
    rule="write",
    file="token_file.py",
    hints=(
        "Look at token_file.py: how is the file made, and under which name do the tokens stand there?",
        "Make a new file with the rights 600 and put it in the old one's place. Keep and look up by issuer.",
    ),
)
def token_file(world: World) -> None:
    program = client(world)
    expect(hasattr(program, "token_file"), "client.py keeps no tokens: it does not import token_file.")
    file = program.token_file
    missing = {"TOKEN_FILE", "keep", "kept", "forget"} - set(vars(file))
    expect(not missing, f"token_file.py has no {', '.join(sorted(missing))}.")
    file.keep(ISSUER, {"client_id": "c-1"}, {"refresh_token": "a secret"})
    rights = file.TOKEN_FILE.stat().st_mode & 0o777
    expect(os.name != "posix" or rights == 0o600, f"The token file has the rights {rights:o}, not 600.")
    expect(file.kept(ISSUER)[1].get("refresh_token") == "a secret", "What was kept is not there any more.")
    expect(not any(file.kept(EVIL)), "Another server would be told what this one gave.")
    file.forget(ISSUER)
    expect("a secret" not in file.TOKEN_FILE.read_text(encoding="utf-8"), "What is forgotten is still in the file.")

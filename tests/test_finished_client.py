"""The finished client on the wire: what it asks, in which order, and where it stops."""

import logging
import time
from urllib.parse import quote, quote_plus

import anyio
import httpx2
import pytest

from client import rules
from client.wire import readable
from shared.stop import Stop
from tests.finished_client import ISSUER, OTHER, PRM_PATH, PRM_ROOT, RESOURCE, Net, User, as_url, metadata, nobody_holds
from tests.world import s256

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def user(net: Net, tmp_path) -> User:
    return User(net, tmp_path)


# ── the whole way ─────────────────────────────────────────────────────────────


async def test_it_finds_its_way_from_the_address_of_the_server(net: Net, user: User) -> None:
    assert (await user.call()).status_code == 200
    ways = [f"{request.method} {request.url}" for request in net.asked]
    assert ways == [
        f"POST {RESOURCE}",
        f"GET {PRM_PATH}",
        f"GET {as_url()}",
        f"POST {ISSUER}/register",
        f"POST {ISSUER}/token",
        f"POST {RESOURCE}",
    ]


async def test_it_registers_as_a_native_public_client_and_is_kept_to_no_scope(net: Net, user: User) -> None:
    await user.call()
    (about_us,) = net.registered()
    assert about_us["application_type"] == "native" and about_us["token_endpoint_auth_method"] == "none"
    assert about_us["grant_types"] == ["authorization_code", "refresh_token"] and "scope" not in about_us
    assert about_us["redirect_uris"] == [net.visits[0]["redirect_uri"]]
    assert about_us["redirect_uris"][0].startswith("http://127.0.0.1:")


async def test_it_asks_with_pkce_state_and_resource(net: Net, user: User) -> None:
    await user.call()
    (ask,), (form,) = net.visits, net.forms()
    assert ask["code_challenge_method"] == "S256" and ask["code_challenge"] == s256(form["code_verifier"])
    assert ask["resource"] == form["resource"] == RESOURCE and len(ask["state"]) >= 22
    assert ask["scope"] == "a b" and form["redirect_uri"] == ask["redirect_uri"]


async def test_discovery_names_the_protocol_version(net: Net, user: User) -> None:
    await user.call()
    assert all("MCP-Protocol-Version" in request.headers for request in net.asked if request.method == "GET")


async def test_the_next_run_asks_nobody(net: Net, user: User, tmp_path) -> None:
    await user.call()
    net.asked.clear()
    assert (await User(net, tmp_path).call()).status_code == 200
    assert net.urls() == [RESOURCE]


# ── where it stops ────────────────────────────────────────────────────────────


def nothing_was_given_away(net: Net) -> bool:
    return not net.visits and not net.forms() and not net.registered()


@pytest.mark.parametrize("methods", [None, [], ["plain"], "S256"])
async def test_without_s256_it_does_not_start(net: Net, user: User, methods: object) -> None:
    net.documents[as_url()] = metadata(code_challenge_methods_supported=methods)
    assert "does not offer PKCE with S256" in await user.refused()
    assert nothing_was_given_away(net)


@pytest.mark.parametrize(
    "issuer", [f"{ISSUER}/", "http://LOCALHOST:9000", "https://localhost:9000", "http://evil.example", 5]
)
async def test_metadata_of_another_issuer_is_not_used(net: Net, user: User, issuer: object) -> None:
    net.documents[as_url()] = metadata() | {"issuer": issuer}
    assert "answered" in await user.refused()
    assert nothing_was_given_away(net)


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "registration_endpoint", "odd_endpoint"])
@pytest.mark.parametrize(
    "url",
    [
        "http://as.example/x",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "data:text/html,x",
        "vbscript:x",
        "--flag",
        "https://x/$(calc)`",
        "https://user:word@as.example/x",
        "http://localhost:9000/x#y",
        "http://localhost:99999/x",
        "http://[::1/x",
        "http://localhost.evil.example/x",
        "\x1b[2Jhttps://x/",
        5,
    ],
)
async def test_no_address_of_theirs_is_used_unless_it_is_safe(net: Net, user: User, name: str, url: object) -> None:
    net.documents[as_url()] = metadata(**{name: url})
    said = await user.refused()
    assert nothing_was_given_away(net) and said.isprintable()


HERE = ["http://localhost:6379", "https://localhost./", "https://tools.localhost", "https://[::ffff:127.0.0.1]/"]
HERE += [f"https://{host}/" for host in ("2130706433", "127.1", "0", "0x7f.1", "0177.0.0.1", "127.0.0.2.", "[::]")]
HERE += ["https://%6cocalhost/", "https://127%2e0.0.1/"]


@pytest.mark.parametrize("url", ["https://169.254.169.254/", "https://10.0.0.7/as", "https://10.1/", *HERE])
def test_a_server_out_there_does_not_send_us_inside(url: str) -> None:
    with pytest.raises(Stop):
        rules.check_address(url, "https://mcp.example.com/mcp")
    with pytest.raises(Stop):
        rules.check_address("http://192.168.1.1/", RESOURCE)


@pytest.mark.parametrize("url", HERE)
def test_nor_does_one_in_our_own_network_send_us_to_this_computer(url: str) -> None:
    with pytest.raises(Stop):
        rules.check_address(url, "https://192.168.1.7/mcp")
    rules.check_address("https://192.168.1.8/as", "https://192.168.1.7/mcp")


@pytest.mark.parametrize("status", [500, 503, 429])
@pytest.mark.parametrize("url", [PRM_PATH, as_url()])
async def test_trouble_over_there_is_no_reason_to_guess(net: Net, user: User, url: str, status: int) -> None:
    net.fixed[url] = httpx2.Response(status)
    assert f"answered {status}" in await user.refused()
    assert nothing_was_given_away(net)


@pytest.mark.parametrize(
    "document",
    [
        {"resource": RESOURCE},
        {"resource": RESOURCE, "authorization_servers": []},
        {"resource": RESOURCE, "authorization_servers": ISSUER},
        {"resource": RESOURCE, "authorization_servers": [5]},
        {"resource": f"{RESOURCE}/", "authorization_servers": [ISSUER]},
        {"resource": "http://localhost:8000", "authorization_servers": [ISSUER]},
        {"resource": "http://localhost:8000/", "authorization_servers": [ISSUER]},
        {"authorization_servers": [ISSUER]},
        [],
        None,
    ],
)
async def test_doubtful_metadata_of_the_server_ends_it(net: Net, user: User, document: object) -> None:
    net.documents[PRM_PATH] = document
    await user.refused()
    assert nothing_was_given_away(net) and net.urls() == [RESOURCE, PRM_PATH]


async def test_a_page_with_status_200_is_no_metadata(net: Net, user: User) -> None:
    net.fixed[PRM_PATH] = httpx2.Response(200, text="<html>welcome</html>")
    await user.refused()
    assert net.urls() == [RESOURCE, PRM_PATH]


@pytest.mark.parametrize("resource", ["http://localhost:8000", "http://localhost:8000/", RESOURCE])
async def test_metadata_at_the_root_may_be_about_the_root(net: Net, user: User, resource: str) -> None:
    net.documents[PRM_ROOT] = net.documents.pop(PRM_PATH) | {"resource": resource}
    await user.call()
    assert net.visits[0]["resource"] == net.forms()[0]["resource"] == resource


async def test_the_metadata_that_the_challenge_names_is_used_and_no_other(net: Net, user: User) -> None:
    named = "http://localhost:8000/elsewhere"
    net.challenge = f'Bearer resource_metadata="{named}"'
    net.documents[named] = net.documents[PRM_PATH]
    await user.call()
    assert net.urls()[1] == named and PRM_PATH not in net.urls()


async def test_if_that_is_not_there_nothing_is_guessed(net: Net, user: User) -> None:
    net.challenge = 'Bearer resource_metadata="http://localhost:8000/elsewhere"'
    assert "It answers 404" in await user.refused()
    assert net.urls() == [RESOURCE, "http://localhost:8000/elsewhere"]


async def test_a_redirect_to_another_host_is_not_followed(net: Net, user: User) -> None:
    net.fixed[as_url()] = httpx2.Response(307, headers={"Location": as_url(OTHER)})
    await user.refused()
    assert not net.urls(OTHER) and nothing_was_given_away(net)


async def test_a_named_server_without_metadata_is_not_replaced_by_default_paths(net: Net, user: User) -> None:
    del net.documents[as_url()]
    assert "publishes no metadata" in await user.refused()
    assert nothing_was_given_away(net)


async def test_where_the_tokens_come_from_is_said_once_if_that_is_elsewhere(net: Net, user: User) -> None:
    net.documents[as_url()] = metadata(token_endpoint=f"{OTHER}/token")
    for _ in range(2):
        await user.call()
        net.good.clear()
    assert sum(f"{OTHER}/token" in line for line in user.said) == 1


async def test_metadata_that_the_sdk_cannot_read_is_not_replaced_by_default_paths(net: Net, user: User) -> None:
    net.documents[as_url()] = metadata(scopes_supported="everything")
    assert "cannot be used" in await user.refused()
    assert nothing_was_given_away(net) and net.urls() == [RESOURCE, PRM_PATH, as_url()]


async def test_an_endpoint_may_have_a_query_of_its_own(net: Net, user: User) -> None:
    net.documents[as_url()] = metadata(authorization_endpoint=f"{ISSUER}/authorize?tenant=1")
    await user.call()
    assert net.visits[0]["url"].startswith(f"{ISSUER}/authorize?tenant=1&response_type=code&")


# ── who answered: RFC 9207 ────────────────────────────────────────────────────


@pytest.mark.parametrize("iss", [ISSUER, None, f"{ISSUER}/", "http://LOCALHOST:9000", OTHER, ""])
@pytest.mark.parametrize("promised", [True, None])
@pytest.mark.parametrize("error", [None, "access_denied"])
async def test_the_four_rows_of_iss(
    net: Net, user: User, iss: str | None, promised: bool | None, error: str | None
) -> None:
    net.documents[as_url()] = metadata(authorization_response_iss_parameter_supported=promised)
    net.answer = {"iss": iss} | ({"code": None, "error": error, "error_description": "pay here"} if error else {})
    if iss == ISSUER or (iss is None and not promised):
        if error:
            assert "pay here" in await user.refused()
        else:
            assert (await user.call()).status_code == 200
        return
    said = await user.refused()
    assert "does not come from the authorization server" in said and "pay here" not in said and not net.forms()


# ── who we are ────────────────────────────────────────────────────────────────

DOCUMENT = "https://client.example/about.json"


async def test_configured_credentials_come_first(net: Net, tmp_path) -> None:
    net.documents[as_url()] = metadata(client_id_metadata_document_supported=True)
    net.clients.add("known")
    options = {"client_id": "known", "issuer": ISSUER, "client_metadata_url": DOCUMENT}
    await User(net, tmp_path, **options).call()
    assert net.visits[0]["client_id"] == "known" and not net.registered()


async def test_then_our_document_where_it_is_understood(net: Net, tmp_path) -> None:
    net.documents[as_url()] = metadata(client_id_metadata_document_supported=True)
    net.clients.add(DOCUMENT)
    await User(net, tmp_path, client_metadata_url=DOCUMENT).call()
    assert net.visits[0]["client_id"] == DOCUMENT and not net.registered()


@pytest.mark.parametrize("advertised", [None, False])
async def test_and_not_where_it_is_not(net: Net, tmp_path, advertised: object) -> None:
    net.documents[as_url()] = metadata(client_id_metadata_document_supported=advertised)
    await User(net, tmp_path, client_metadata_url=DOCUMENT).call()
    assert net.visits[0]["client_id"] == "client 1 of 9000"


async def test_where_nobody_can_register_the_user_is_asked(net: Net, tmp_path) -> None:
    net.documents[as_url()] = metadata(registration_endpoint=None)
    net.clients.add("typed in")
    user = User(net, tmp_path, asked=("typed in", ""))
    await user.call()
    assert net.visits[0]["client_id"] == "typed in" and f"asked for {ISSUER}" in user.said


async def test_and_without_an_answer_it_ends(net: Net, user: User) -> None:
    net.documents[as_url()] = metadata(registration_endpoint=None)
    assert "--client-id" in await user.refused()
    assert nothing_was_given_away(net)


async def test_a_refused_registration_is_said(net: Net, user: User) -> None:
    why = {"error": "invalid_redirect_uri", "error_description": "no loopback\x1b[2J here"}
    net.fixed[f"{ISSUER}/register"] = httpx2.Response(400, json=why)
    assert await user.refused() == "The authorization server does not register us: 'no loopback [2J here'."


async def test_a_server_that_moves_to_another_issuer_gets_nothing_of_the_old_one(
    net: Net, user: User, tmp_path
) -> None:
    await user.call()
    old = {net.visits[0]["client_id"], *net.refresh_tokens, *net.good}
    net.documents[PRM_PATH] = {"resource": RESOURCE, "authorization_servers": [OTHER]}
    net.good.clear()
    net.asked.clear()
    assert (await User(net, tmp_path).call()).status_code == 200
    assert net.visits[1]["client_id"] == "client 2 of 9900" and not net.urls(ISSUER)
    sent = [f"{request.url} {request.content!r} {request.headers}" for request in net.asked if request.url.port == 9900]
    assert not any(secret in line for secret in old for line in sent)


async def test_and_back_again_it_is_known_there_still(net: Net, user: User, tmp_path) -> None:
    for servers in ([ISSUER], [OTHER], [ISSUER]):
        net.documents[PRM_PATH] = {"resource": RESOURCE, "authorization_servers": servers}
        net.good.clear()
        await User(net, tmp_path).call()
    assert len(net.registered()) == 2


@pytest.mark.parametrize("again", [{}, {"client_id": "known", "client_secret": "the secret", "issuer": ISSUER}])
async def test_configured_credentials_go_to_no_other_issuer(net: Net, tmp_path, again: dict) -> None:
    net.clients.add("known")
    await User(net, tmp_path, client_id="known", issuer=ISSUER).call()
    net.documents[PRM_PATH] = {"resource": RESOURCE, "authorization_servers": [OTHER]}
    net.good.clear()
    assert f"belong to {ISSUER}" in await User(net, tmp_path, **again).refused()
    assert not net.urls(OTHER)


# ── renewing ──────────────────────────────────────────────────────────────────


async def test_an_expired_token_is_renewed_without_the_user(net: Net, user: User, tmp_path) -> None:
    await user.call()
    net.good.clear()
    assert (await User(net, tmp_path).call()).status_code == 200
    refresh = net.forms()[-1]
    assert refresh["grant_type"] == "refresh_token" and refresh["resource"] == RESOURCE and len(net.visits) == 1


async def test_a_token_that_we_know_to_be_old_is_not_sent(net: Net, user: User, tmp_path) -> None:
    await user.call()
    user.store.change(*user.belongings._tokens, expires_at=time.time() - 1)
    net.asked.clear()
    await User(net, tmp_path).call()
    assert "Authorization" not in net.asked[0].headers


async def test_a_login_is_renewed_as_the_client_that_it_was_for(net: Net, user: User, tmp_path) -> None:
    """Another server with the same issuer made us register there a second time, while the user was asked."""
    ordinary = net.visit

    def meanwhile(url: str) -> str:
        user.store.write("registration", ISSUER, value={"client_id": "the second", "configured": True})
        return ordinary(url)

    net.visit = meanwhile
    await user.call()
    for _ in range(2):
        net.good.clear()
        assert (await User(net, tmp_path).call()).status_code == 200
    assert {form["client_id"] for form in net.forms()} == net.clients and len(net.visits) == 1
    user.belongings.forget_tokens()
    assert (await user.belongings.get_client_info()).client_id == "the second"


async def test_if_that_is_refused_the_user_is_asked(net: Net, user: User) -> None:
    await user.call()
    net.good.clear()
    net.refresh_tokens.clear()
    assert (await user.call()).status_code == 200
    assert len(net.visits) == 2 and len(net.registered()) == 1


async def test_if_nobody_is_there_to_renew_it_the_user_is_not_bothered(net: Net, user: User) -> None:
    await user.call()
    net.good.clear()
    net.fixed[f"{ISSUER}/token"] = httpx2.Response(503)
    assert "answered 503" in await user.refused()
    assert len(net.visits) == 1


async def test_many_callers_renew_once(net: Net, user: User) -> None:
    await user.call()
    net.good.clear()
    await together(user.call for _ in range(8))
    assert [form["grant_type"] for form in net.forms()] == ["authorization_code", "refresh_token"]


async def test_so_do_many_processes(net: Net, user: User, tmp_path) -> None:
    await user.call()
    net.good.clear()
    await together(User(net, tmp_path).call for _ in range(8))
    assert [form["grant_type"] for form in net.forms()] == ["authorization_code", "refresh_token"]


async def test_whoever_has_renewed_does_not_hold_up_the_others(net: Net, user: User, tmp_path) -> None:
    """The turn ends with the new token, not with the call that it was for."""
    await user.call()
    net.good.clear()
    free: list[bool] = []
    ordinary = net.mcp

    def slow(request: httpx2.Request) -> httpx2.Response:
        answer = ordinary(request)
        if answer.status_code == 200:
            free.append(nobody_holds(user.belongings.lock_path))
        return answer

    net.mcp = slow
    await User(net, tmp_path).call()
    await User(net, tmp_path).call()
    assert free == [True, True]


async def together(calls) -> None:
    async def one(call) -> None:
        assert (await call()).status_code == 200

    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(one, call)


async def test_a_refresh_token_that_does_not_change_is_kept(net: Net, user: User) -> None:
    await user.call()
    before = (await user.belongings.get_tokens()).refresh_token
    net.good.clear()
    token = net.new_tokens("a b") | {"refresh_token": None}
    net.fixed[f"{ISSUER}/token"] = httpx2.Response(200, json={k: v for k, v in token.items() if v})
    await user.call()
    assert (await user.belongings.get_tokens()).refresh_token == before


async def test_a_forgotten_registration_is_made_again_once(net: Net, user: User) -> None:
    await user.call()
    net.good.clear()
    net.clients.clear()
    assert (await user.call()).status_code == 200
    assert len(net.registered()) == 2 and len(net.visits) == 2
    assert any("register again" in line for line in user.said)


async def test_and_not_twice(net: Net, user: User) -> None:
    await user.call()
    net.good.clear()
    net.fixed[f"{ISSUER}/token"] = httpx2.Response(401, json={"error": "invalid_client"})
    assert "invalid_client" in await user.refused()
    assert len(net.registered()) == 2


async def test_configured_credentials_are_not_replaced(net: Net, tmp_path) -> None:
    user = User(net, tmp_path, client_id="unknown", issuer=ISSUER)
    assert "invalid_client" in await user.refused()
    assert not net.registered()


async def test_a_server_that_never_is_content_is_left(net: Net, user: User) -> None:
    net.lifetime = -1
    assert "We do not go on" in await user.refused()
    assert len(net.asked) < 40


# ── scopes ────────────────────────────────────────────────────────────────────


async def test_without_a_suggestion_no_scope_is_asked_for(net: Net, user: User) -> None:
    net.challenge = "Bearer"
    net.documents[as_url()] = metadata(scopes_supported=["everything", "that", "exists"])
    await user.call()
    assert "scope" not in net.visits[0]


async def test_the_scopes_of_the_server_if_the_challenge_names_none(net: Net, user: User) -> None:
    net.challenge = "Bearer"
    net.documents[PRM_PATH] |= {"scopes_supported": ["a", "c"]}
    await user.call()
    assert net.visits[0]["scope"] == "a c"


@pytest.mark.parametrize(
    ("challenged", "supported", "expected"),
    [
        ("a", ["a", "offline_access"], "a offline_access"),
        ("a offline_access", ["a"], "a"),
        ("a offline_access", None, "a"),
        ("a offline_access", ["offline_access"], "a offline_access"),
    ],
)
async def test_offline_access_only_where_the_authorization_server_lists_it(
    net: Net, user: User, challenged: str, supported: list | None, expected: str
) -> None:
    net.challenge = f'Bearer scope="{challenged}"'
    net.documents[as_url()] = metadata(scopes_supported=supported)
    await user.call()
    assert net.visits[0]["scope"] == expected


async def test_what_the_user_wants_comes_first(net: Net, tmp_path) -> None:
    await User(net, tmp_path, scope="only this").call()
    assert net.visits[0]["scope"] == "only this"


async def test_a_step_up_asks_for_what_we_had_and_what_is_missing(net: Net, user: User, tmp_path) -> None:
    await user.call()
    net.needs = {"c"}
    assert (await User(net, tmp_path).call()).status_code == 200
    assert [visit["scope"] for visit in net.visits] == ["a b", "a b c"]


async def test_after_two_step_ups_it_stops_and_remembers(net: Net, user: User, tmp_path) -> None:
    await user.call()
    net.needs, net.grants = {"c"}, False
    assert "stop asking" in await user.refused()
    assert len(net.visits) == 3
    assert "stop asking" in await User(net, tmp_path).refused()
    assert len(net.visits) == 3
    later = User(net, tmp_path)
    later.belongings.forget_step_ups()
    net.grants = True
    assert (await later.call()).status_code == 200
    assert later.belongings.step_ups()["tools/call rebalance"] == 0


async def test_a_plain_403_is_no_question(net: Net, user: User) -> None:
    await user.call()
    net.fixed[RESOURCE] = httpx2.Response(403)
    assert (await user.call()).status_code == 403
    assert len(net.visits) == 1


# ── old servers: 2025-03-26 ───────────────────────────────────────────────────


async def test_an_old_server_is_its_own_authorization_server_and_that_is_said(net: Net, user: User) -> None:
    del net.documents[PRM_PATH]
    old = "http://localhost:8000"
    net.documents[as_url(old)] = metadata(old)
    assert (await user.call()).status_code == 200
    assert net.urls()[1:4] == [PRM_PATH, PRM_ROOT, as_url(old)]
    assert any("2025-03-26" in line for line in user.said) and net.visits[0]["code_challenge_method"] == "S256"


async def test_without_metadata_the_three_paths_have_fixed_names(net: Net, user: User) -> None:
    del net.documents[PRM_PATH]
    net.answer = {"iss": None}
    assert (await user.call()).status_code == 200
    assert net.visits[0]["url"].startswith("http://localhost:8000/authorize?")
    assert net.urls()[4:6] == ["http://localhost:8000/register", "http://localhost:8000/token"]
    assert sum("2025-03-26" in line for line in user.said) == 2
    assert net.visits[0]["code_challenge_method"] == "S256" and len(net.forms()[0]["code_verifier"]) >= 43


async def test_an_old_server_has_to_offer_s256_too(net: Net, user: User) -> None:
    del net.documents[PRM_PATH]
    net.documents[as_url("http://localhost:8000")] = metadata("http://localhost:8000") | {
        "code_challenge_methods_supported": ["plain"]
    }
    assert "S256" in await user.refused()
    assert nothing_was_given_away(net)


async def test_an_old_server_does_not_speak_for_others(net: Net, user: User) -> None:
    del net.documents[PRM_PATH]
    net.documents[as_url("http://localhost:8000")] = metadata(ISSUER)
    assert "answered" in await user.refused()
    assert nothing_was_given_away(net)


# ── secrets ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [200, 201, 400, 401])
@pytest.mark.parametrize("place", ["error_description", "scope", "refresh_token", "expires_in", "token_type"])
async def test_whoever_repeats_our_secrets_does_not_get_them_shown(
    net: Net, user: User, status: int, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def repeat(request: httpx2.Request) -> httpx2.Response:
        said = f"{request.content.decode()} the-token-of-theirs"
        value = said if place == "error_description" else [said]
        tokens = {"access_token": "the-token-of-theirs", "token_type": "Bearer"} if status < 300 else {}
        return httpx2.Response(status, json=tokens | {"error": "invalid_grant", place: value})

    net.token = repeat
    if status == 200 and place == "error_description":
        return
    said = await user.refused()
    secrets = [net.forms()[0]["code"], net.forms()[0]["code_verifier"]]
    if status < 300 and place != "error_description":
        secrets.append("the-token-of-theirs")
    written = said + "".join(user.said) + caplog.text
    assert not any(secret in written for secret in secrets)


@pytest.mark.parametrize("methods", [["client_secret_basic"], ["client_secret_post"]])
@pytest.mark.parametrize("secret", ["s3cr3t-value", "s3 cr/3t+vält"])
async def test_nor_does_whoever_repeats_the_secret_that_was_configured(
    net: Net, tmp_path, methods: list[str], secret: str
) -> None:
    def repeat(request: httpx2.Request) -> httpx2.Response:
        said = f"no such secret: {secret}, {request.headers.get('Authorization')}, {request.content.decode()}."
        return httpx2.Response(401, json={"error": "invalid_client", "error_description": said})

    net.token = repeat
    net.documents[as_url()] = metadata(token_endpoint_auth_methods_supported=methods)
    said = await User(net, tmp_path, client_id="known", client_secret=secret, issuer=ISSUER).refused()
    sent = net.asked[-1].headers.get("Authorization", "Basic nothing").split()[1]
    assert "no such secret: …, " in said
    assert not any(one in said for one in (secret, quote(secret, ""), quote_plus(secret), sent))


@pytest.mark.parametrize("lifetime", [10**400, -(10**400), 2**63 + 1], ids=["long", "negative", "64 bits"])
async def test_a_token_whose_end_no_clock_knows_is_not_used(net: Net, user: User, lifetime: int) -> None:
    net.fixed[f"{ISSUER}/token"] = httpx2.Response(200, json=net.new_tokens("a") | {"expires_in": lifetime})
    assert "how long its token lives" in await user.refused()


async def test_a_registration_that_cannot_be_used_does_not_show_its_secret(net: Net, user: User) -> None:
    odd = {"client_secret": "the-secret", "redirect_uris": 5}
    net.fixed[f"{ISSUER}/register"] = httpx2.Response(201, json=odd)
    assert "the-secret" not in await user.refused()


def test_what_strangers_write_stays_on_its_line() -> None:
    assert readable("a\x1b[2J\nb\u202ec") == "a [2J b c" and len(readable("x" * 1000)) < 310


@pytest.mark.parametrize(
    ("rules_of", "rule", "lie"),
    [
        ("SERVER_METADATA_RULES", "same_issuer", {"issuer": f"{ISSUER}/"}),
        ("SERVER_METADATA_RULES", "offers_s256", {"code_challenge_methods_supported": ["plain"]}),
        ("SERVER_METADATA_RULES", "safe_endpoints", {"revocation_endpoint": "http://as.example/revoke"}),
        ("ADDRESS_RULES", "https_or_this_computer", {"revocation_endpoint": "http://as.example/revoke"}),
        ("ADDRESS_RULES", "names_nobody", {"revocation_endpoint": "https://a@as.example/revoke"}),
        ("ADDRESS_RULES", "no_way_inside", None),
        ("ANSWER_RULES", "from_the_same_issuer", None),
        ("RESOURCE_METADATA_RULES", "about_this_resource", None),
    ],
)
async def test_each_rule_is_what_refuses(
    net: Net, user: User, monkeypatch: pytest.MonkeyPatch, rules_of: str, rule: str, lie: dict | None
) -> None:
    """Taken out of its tuple, nothing else does: the tuples are read when they are used."""
    net.documents[as_url()] = metadata(**lie or {})
    if rule == "from_the_same_issuer":
        net.answer = {"iss": OTHER}
    if rule == "about_this_resource":
        net.documents[PRM_PATH] = {"resource": "http://localhost:8000", "authorization_servers": [ISSUER]}
    if rule == "no_way_inside":
        monkeypatch.setattr(rules, "inside", lambda parts: parts.port != 8000)
    await user.refused()
    left = tuple(one for one in getattr(rules, rules_of) if one.__name__ != rule)
    monkeypatch.setattr(rules, rules_of, left)
    if rule == "same_issuer":  # the SDK looks too
        with pytest.raises(Exception, match="mismatch"):
            await user.call()
    else:
        assert (await user.call()).status_code == 200

"""Group G, first half: how a client proves who it is, and programs that ask for themselves."""

import httpx2

from attacks.core import (
    NotHere,
    Outcome,
    Verdict,
    as_specified,
    attack,
    denied,
    denied_at_home,
    denied_for_now,
    denied_with_page,
    got_in,
    let_in,
    otherwise,
    worst,
)
from attacks.machines import (
    NOBODY,
    OURS,
    THEIRS,
    ask_for_itself,
    ask_with,
    assertion,
    basic,
    basic_as_written,
    denied_basic,
    machines,
    redeem_with,
)
from attacks.world import BASIC, ELSEWHERE, PASSWORDS, REBALANCE, VERIFIER, World

BAD_METADATA = (400, "invalid_client_metadata")
NOT_YOURS = (400, "unauthorized_client")

# ── secrets ───────────────────────────────────────────────────────────────────────────────────────


@attack("ATK-109", "Secret missing", "OAuth 2.1 §3.2.1", "AS", stopped_from="04")
def secret_missing(world: World) -> Verdict:
    """Who has a secret or a key must show it: the name alone proves nothing, and an empty secret no more."""
    client_id = world.register(token_endpoint_auth_method="client_secret_post")["client_id"]
    code = world.code(client_id)
    tries = [denied(world.redeem(client_id, code, client_secret=secret), NOBODY) for secret in (None, "")]
    for machine in machines(world):
        tries.append(denied(ask_for_itself(world, client_id=machine["client_id"]), NOBODY))
        tries.append(denied_basic(ask_for_itself(world, basic(machine["client_id"], ""))))
    return worst(*tries, public_machine(world))


def public_machine(world: World) -> Verdict:
    try:
        machine = world.register_machine(token_endpoint_auth_method="none")
    except httpx2.HTTPStatusError as error:
        return denied(error.response, BAD_METADATA)
    except NotHere as why:
        return Verdict(Outcome.NOT_HERE, str(why))
    return denied(ask_for_itself(world, client_id=machine["client_id"]), NOBODY)


@attack("ATK-110", "Secret in the URL", "OAuth 2.1 §2.4.1", "AS", stopped_from="04")
def secret_in_url(world: World) -> Verdict:
    """URLs are logged. A secret there is not read, not even together with a name in the form."""
    client = world.register(token_endpoint_auth_method="client_secret_post")
    proof = {name: client[name] for name in ("client_id", "client_secret")}
    expected = (NOBODY, (400, "invalid_request"))
    tries = [denied(redeem_with(world, world.code(client["client_id"]), params=proof), *expected)]
    code = world.code(client["client_id"])
    form = {"grant_type": "authorization_code", "client_id": client["client_id"], "code": code}
    form |= {"code_verifier": VERIFIER, "resource": world.resource}
    secret = {"client_secret": client["client_secret"]}
    return worst(*tries, denied(world.auth.post("/token", params=secret, data=form), *expected))


@attack("ATK-112", "Method other than registered", "OAuth 2.1 §3.2.4, RFC 7591 §2", "AS", stopped_from="04")
def other_method(world: World) -> Verdict:
    """The right secret in the wrong place; a secret from who has none; an empty one from who has a key."""
    public = world.register()["client_id"]
    posting = world.register(token_endpoint_auth_method="client_secret_post")
    tries = [denied(world.redeem(public, world.code(public), client_secret="mine"), NOBODY)]
    tries.append(denied_basic(redeem_with(world, world.code(public), basic(public, ""))))
    code = world.code(posting["client_id"])
    tries.append(denied_basic(redeem_with(world, code, basic(posting["client_id"], posting["client_secret"]))))
    for machine in machines(world):
        name, secret = machine["client_id"], machine.get("client_secret", "a secret")
        if machine["token_endpoint_auth_method"] != "client_secret_basic":
            tries.append(denied_basic(ask_for_itself(world, basic(name, secret))))
        if machine["token_endpoint_auth_method"] != "client_secret_post":
            tries.append(denied(ask_for_itself(world, client_id=name, client_secret=secret), NOBODY))
        if machine["token_endpoint_auth_method"] != "private_key_jwt":
            tries.append(denied(ask_with(world, assertion(world, name)), NOBODY))
    return worst(*tries)


@attack("ATK-113", "Timing of secret comparison", "OAuth 2.1 §7.7", "AS", stopped_from="04")
def telling_answers(world: World) -> Verdict:
    """Microseconds drown on the wire, but words do not: unknown, wrong and almost right must read the same."""
    client, public = world.register(token_endpoint_auth_method="client_secret_post"), world.register()
    name, almost = client["client_id"], client["client_secret"][:-1]
    pairs = ((name, almost), (name, "x"), (name, "é"), (public["client_id"], "x"), ("nobody", "x"))
    groups = [[world.redeem(who, "no code", client_secret=secret) for who, secret in pairs]]
    if known := machines(world):
        headers = [basic(known[0]["client_id"], "x"), basic("nobody", "x")]
        groups.append([ask_for_itself(world, header) for header in headers])
        names = (known[2]["client_id"], "nobody")
        groups.append([ask_with(world, assertion(world, who, signer=THEIRS, kid=OURS)) for who in names])
    for answers in groups:
        told = {(answer.status_code, answer.text, answer.headers.get("www-authenticate")) for answer in answers}
        if len(told) > 1:
            return got_in("the answers tell which clients there are")
    return worst(*(denied(answer, NOBODY) for answers in groups for answer in answers))


@attack("ATK-115", "Basic with unencoded or colon secrets", "OAuth 2.1 §2.4.1", "AS", stopped_from="08")
def odd_basic(world: World) -> Verdict:
    """Both parts are form-encoded inside; what cannot be read is a failed authentication, nothing else."""
    machine = world.register_machine(token_endpoint_auth_method="client_secret_basic")
    name, secret = machine["client_id"], machine["client_secret"]
    encoded = ":".join("".join(f"%{byte:02X}" for byte in part.encode()) for part in (name, secret))
    plain = basic_as_written(f"{name}:{secret}")["Authorization"]
    for header in (basic_as_written(encoded), {"Authorization": plain.replace("Basic", "basic")}):
        if ask_for_itself(world, header).status_code != 200:
            return otherwise("an honest pair is not understood")
    pairs = [f"{name}:{secret}:", f"{name}:{secret}+", f"{name}:{secret}%", f"{name}%3A{secret}", f"{name}:%ff"]
    pairs += [f"{secret}:{name}", f"{name}:é", f"{name}:%C3%A9", "%00:%00", ":", name, ""]
    headers = [basic_as_written(pair) for pair in pairs]
    headers += [{"Authorization": b"Basic " + raw} for raw in (b"!", b"\xff", b"Og", b"/w==")]
    headers += [{"Authorization": plain.replace("Basic", scheme)} for scheme in ("Bearer", "Digest")]
    return worst(*(denied_basic(ask_for_itself(world, header)) for header in headers))


@attack("ATK-116", "Secret brute force", "OAuth 2.1 §2.4.1, §7.7, RFC 6585 §4", "AS", stopped_from="07")
def guessing_secrets(world: World) -> Verdict:
    """Twenty guesses are enough from one address; whoever knows the secret is served at another."""
    client = world.register(token_endpoint_auth_method="client_secret_post")
    form = {"grant_type": "authorization_code", "client_id": client["client_id"]}
    form |= {"code": world.code(client["client_id"]), "code_verifier": VERIFIER, "resource": world.resource}
    thief = world.browser(ELSEWHERE)
    for number in range(20):
        thief.post("/token", data=form | {"client_secret": f"guess {number}"})
    lucky = thief.post("/token", data=form | {"client_secret": client["client_secret"]})
    if let_in(lucky):
        return got_in("the 21st guess was right, and nobody had said that it is enough")
    guesses = world.at_once(30, "/token", form | {"client_secret": "a guess"}, ("203.0.113.67", 50_000))
    heard = [answer for answer in guesses if answer.status_code != 429]
    if len(heard) > 20:
        return got_in(f"{len(heard)} guesses that were all sent before the first was answered")
    if not let_in(world.auth.post("/token", data=form | {"client_secret": client["client_secret"]})):
        return otherwise("the honest client is shut out too")
    return denied_for_now(lucky)


# ── grants ────────────────────────────────────────────────────────────────────────────────────────


@attack("ATK-118", "Grant not registered", "OAuth 2.1 §3.2.4, §4.1.2.1", "AS", stopped_from="08")
def grant_not_registered(world: World) -> Verdict:
    """A program with a person asks for itself; a machine asks in a person's name, or for more than it registered."""
    scope = {"scope": "mcp:tools:sentiment"}
    machine = world.register_machine(token_endpoint_auth_method="client_secret_basic", **scope)
    public, posting = world.register(), world.register(token_endpoint_auth_method="client_secret_post")
    proof = {name: posting[name] for name in ("client_id", "client_secret")}
    tries = [denied(ask_for_itself(world, client_id=public["client_id"]), NOT_YOURS)]
    tries.append(denied(ask_for_itself(world, **proof), NOT_YOURS))
    header = basic(machine["client_id"], machine["client_secret"])
    tries.append(denied(redeem_with(world, world.code(public["client_id"]), header), NOT_YOURS))
    for resource in (None, "https://other.example/mcp", f"{world.resource}/"):
        tries.append(denied(ask_for_itself(world, header, resource=resource), (400, "invalid_target")))
    for wider in (REBALANCE, BASIC, "admin"):
        tries.append(denied(ask_for_itself(world, header, scope=wider), (400, "invalid_scope")))
    return worst(*tries, sent_to_a_person(world, machine), machine_with_address(world))


def machine_with_address(world: World) -> Verdict:
    try:
        machine = world.register_machine(redirect_uris=["https://machine.example/cb"])
    except httpx2.HTTPStatusError as error:
        return denied(error.response, (400, "invalid_redirect_uri"), BAD_METADATA)
    return sent_to_a_person(world, machine, redirect_uri="https://machine.example/cb")


def sent_to_a_person(world: World, machine: dict, **changes: str) -> Verdict:
    """The error travels to an address that it registered; without one, there is only a page."""
    answer = world.auth.get("/authorize", params=world.ask(machine["client_id"], scope=machine["scope"], **changes))
    if answer.has_redirect_location:
        return denied_at_home(answer, "unauthorized_client")
    return denied_with_page(answer)


@attack("ATK-119", "Unknown grant type", "OAuth 2.1 §3.2.4", "AS", stopped_from="04")
def unknown_grant(world: World) -> Verdict:
    """All that other grants could ask for is there, a good code included. Only the name is wrong."""
    client_id = world.register()["client_id"]
    code = world.code(client_id)
    person = {"username": "alice", "password": PASSWORDS["alice"]}
    names = ("password", "implicit", "urn:ietf:params:oauth:grant-type:jwt-bearer", "Authorization_Code", "é")
    tries = [
        denied(world.redeem(client_id, code, grant_type=name, **person), (400, "unsupported_grant_type"))
        for name in names
    ]
    return worst(*tries, denied(world.redeem(client_id, code, grant_type=None), (400, "invalid_request")))


@attack("ATK-128", "Refresh token from client credentials", "RFC 6749 §4.4.3", "AS", stopped_from="08")
def refresh_for_machines(world: World) -> Verdict:
    """There is nothing to refresh: whoever holds the credentials asks again."""
    wanted = [["client_credentials"], ["client_credentials", "refresh_token"]]
    for grant_types in wanted:
        try:
            machine = world.register_machine(token_endpoint_auth_method="client_secret_basic", grant_types=grant_types)
        except httpx2.HTTPStatusError:
            continue
        answer = ask_for_itself(world, basic(machine["client_id"], machine["client_secret"])).raise_for_status()
        if "refresh_token" in answer.json():
            return got_in("a refresh token for a machine")
    return as_specified("no refresh token")

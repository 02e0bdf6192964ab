"""Group H, first half: what a client says of itself when it registers."""

import contextlib
import re

import httpx2
import jwt

from attacks.core import (
    NotHere,
    Outcome,
    Verdict,
    as_specified,
    attack,
    denied,
    denied_for_now,
    denied_this_way,
    got_in,
    json_object,
    let_in,
    otherwise,
    worst,
)
from attacks.machines import OURS, ask_with, assertion, key
from attacks.site import Site
from attacks.world import ELSEWHERE, NATIVE, World

BAD_URI = (400, "invalid_redirect_uri")
BAD_METADATA = (400, "invalid_client_metadata")
TOO_LARGE = (413, "invalid_client_metadata")
JSON = {"Content-Type": "application/json"}


def register(world: World, **changes: object) -> httpx2.Response:
    """A registration that may fail; a change to None leaves the member out."""
    metadata = {name: value for name, value in (NATIVE | changes).items() if value is not None}
    return world.auth.post("/register", json=metadata)


def denied_each(world: World, *uris: str) -> Verdict:
    """Each of these redirect URIs alone, and the last one behind a good one."""
    tries = [denied(register(world, redirect_uris=[uri]), BAD_URI) for uri in uris]
    return worst(*tries, denied(register(world, redirect_uris=[*NATIVE["redirect_uris"], uris[-1]]), BAD_URI))


# ── redirect URIs ─────────────────────────────────────────────────────────────────────────────────


@attack("ATK-130", "http on a remote host", "RFC 9700 §2.6", "AS", stopped_from="04")
def http_far_away(world: World) -> Verdict:
    """A code on its way there can be read by everybody in between; and a web client is far from this computer."""
    lookalikes = ("127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.2", "127.1", "[::]", "2130706433")
    hosts = ("evil.example", "0.0.0.0", *lookalikes)
    web = [
        denied(register(world, application_type="web", redirect_uris=[f"{origin}/cb"]), BAD_URI)
        for origin in ("http://localhost", "http://127.0.0.1:3000", "https://localhost")
    ]
    return worst(*web, denied_each(world, *(f"http://{host}/cb" for host in hosts)))


@attack("ATK-131", "Fragment, userinfo, wildcard, relative", "OAuth 2.1 §2.3", "AS", stopped_from="04")
def odd_redirect_uris(world: World) -> Verdict:
    """Addresses that two programs read differently, or that are none."""
    odd = ["https://a.example/cb#x", "https://u:p@a.example/cb", "https://*.a.example/cb", "/cb", "//a.example/cb"]
    odd += ["https://app.example\\@evil.example/cb", "http://127.0.0.1:3000@evil.example/", "https:///cb", "cb"]
    odd += [f"https://a.example/cb{control}" for control in ("\n", "\r\nSet-Cookie: a=b", "\x00", "\t", " ")]
    odd += ["javascript:alert(1)", "data:text/html,hello", "file:///etc/passwd", "https://a.example/*"]
    return denied_each(world, *odd)


@attack("ATK-133", "Empty or missing redirect_uris", "RFC 7591 §2", "AS", stopped_from="04")
def no_redirect_uris(world: World) -> Verdict:
    """Who has no address would take any."""
    lists = ([], None, [""], {}, "https://a.example/cb", [None], [["https://a.example/cb"]])
    null = world.auth.post("/register", json=NATIVE | {"redirect_uris": None})
    return worst(denied(null, BAD_URI), *(denied(register(world, redirect_uris=uris), BAD_URI) for uris in lists))


# ── other metadata ────────────────────────────────────────────────────────────────────────────────


@attack("ATK-134", "Huge metadata", "RFC 7591 §5", "AS", stopped_from="07")
def huge_metadata(world: World) -> Verdict:
    """Large as a whole, large in a part, deep, or many."""
    uris = [f"https://a.example/{number}" for number in range(10_000)]
    changes = [{"client_name": "x" * size} for size in (3_000, 1_000_000)]
    changes += [{"redirect_uris": uris[:11]}, {"redirect_uris": uris}]
    changes += [{"redirect_uris": ["https://a.example/" + "a" * 3_000]}, {"scope": "x " * 3_000}]
    bodies = [b" " * 5_000_000 + b"{}", b"[" * 15_000, b'{"a":' * 2_500, b'{"client_name": ' + b"9" * 10_000 + b"}"]
    answers = [register(world, **change) for change in changes]
    answers += [world.auth.post("/register", content=body, headers=JSON) for body in bodies]
    return worst(many(world), *(denied(answer, TOO_LARGE, BAD_METADATA, BAD_URI) for answer in answers))


def many(world: World) -> Verdict:
    """A hundred small ones in a minute, from one address; another address is served."""
    try:
        crowd = world.browser(ELSEWHERE)
    except NotHere as why:
        return Verdict(Outcome.NOT_HERE, str(why))
    last = [crowd.post("/register", json=NATIVE) for _ in range(101)][-1]
    world.register()
    if let_in(last):
        return got_in("101 clients in one minute")
    return denied_for_now(last)


@attack("ATK-136", "SSRF by logo_uri, jwks_uri, policy_uri", "RFC 7591 §5", "AS", stopped_from="finished")
def addresses_inside(world: World) -> Verdict:
    """The server would fetch, or show to people, what only it can reach."""
    members = ("logo_uri", "jwks_uri", "policy_uri")
    tries = []
    with Site() as inside:
        urls = (inside.origin, inside.origin.replace("http:", "https:"), "http://169.254.169.254/", "http://10.0.0.1/")
        for answer in (register(world, **{name: url}) for name in members for url in urls):
            tries.append(Verdict(Outcome.NOT_HERE, "ignored"))
            if answer.status_code != 201:
                tries.append(denied(answer, BAD_METADATA))
            elif set(members) & set(answer.json()):
                tries.append(otherwise("kept, for whoever will fetch it"))
            else:
                world.auth.get("/authorize", params=world.ask(answer.json()["client_id"]))
        tries.append(machine_with_keys_at(world, inside.at("/jwks", {"keys": []})))
        return got_in("fetched") if inside.visits else worst(*tries)


def machine_with_keys_at(world: World, url: str) -> Verdict:
    """Its keys are needed at the first proof: are they fetched then?"""
    try:
        machine = world.register_machine(token_endpoint_auth_method="private_key_jwt", jwks_uri=url)
    except NotHere as why:
        return Verdict(Outcome.NOT_HERE, str(why))
    except httpx2.HTTPStatusError as error:
        return denied(error.response, BAD_METADATA)
    return denied(ask_with(world, assertion(world, machine["client_id"])), (401, "invalid_client"))


@attack("ATK-137", "jwks and jwks_uri together", "RFC 7591 §2", "AS", stopped_from="04")
def two_key_sources(world: World) -> Verdict:
    """Which of them would be believed?"""
    return denied(register(world, jwks={"keys": []}, jwks_uri="https://a.example/jwks"), BAD_METADATA)


@attack("ATK-139", "Self-service client_credentials", "RFC 7591 §2", "AS", stopped_from="04")
def machine_for_everybody(world: World) -> Verdict:
    """Programs that ask for themselves are let in by an operator, not by themselves."""
    machine = {"client_name": "a machine", "grant_types": ["client_credentials"], "scope": "admin"}
    with_address = machine | {"redirect_uris": ["https://evil.example/cb"]}
    methods = [{"token_endpoint_auth_method": way} for way in ("client_secret_post", "client_secret_basic", "none")]
    answers = [world.auth.post("/register", json=wanted | way) for wanted in (machine, with_address) for way in methods]
    tries = [denied(answer, BAD_METADATA, BAD_URI) for answer in answers]
    for second in ("refresh_token", "implicit"):
        tries.append(denied(register(world, grant_types=["client_credentials", second], **methods[0]), BAD_METADATA))
    for nothing in ({"grant_types": ["implicit"]}, {"grant_types": []}, {"response_types": ["token"]}):
        tries.append(denied(register(world, **nothing), BAD_METADATA))
    both = register(world, grant_types=["authorization_code", "client_credentials"], **methods[0])
    if "client_credentials" in json_object(both).get("grant_types", []):
        tries.append(got_in("registered for client_credentials, in passing"))
    return worst(*tries, guessed_operator(world, machine | methods[0]))


def guessed_operator(world: World, machine: dict) -> Verdict:
    """With a wrong initial access token, or an empty one."""
    if "client_credentials" not in world.announced()["grant_types_supported"]:
        return Verdict(Outcome.NOT_HERE, "no client credentials")
    tries = []
    for wrong, expected in {"Bearer a-guess": (), "Bearer": (BAD_METADATA,)}.items():
        answer = world.auth.post("/register", json=machine, headers={"Authorization": wrong})
        tries.append(denied(answer, (401, "invalid_token"), *expected))
        if answer.status_code == 401 and not answer.headers.get("www-authenticate", "").startswith("Bearer"):
            tries.append(otherwise("401 without WWW-Authenticate: Bearer"))
    return worst(*tries)


@attack("ATK-140", "Unknown auth method", "RFC 7591 §3.2.1", "AS", stopped_from="04")
def unknown_method(world: World) -> Verdict:
    """A client would be registered that nobody can authenticate, or that nobody does."""
    tries = []
    for method in ("foo", "client_secret_jwt", "tls_client_auth", "", "None", 5, ["none"]):
        answer = register(world, token_endpoint_auth_method=method)
        if answer.status_code == 201 and answer.json()["token_endpoint_auth_method"] != method:
            tries.append(as_specified("replaced, and shown"))
        else:
            tries.append(denied(answer, BAD_METADATA))
    return worst(*tries, without_usable_keys(world))


def without_usable_keys(world: World) -> Verdict:
    """A client that says private_key_jwt, and shows no public keys: none, a shared secret, or a private one."""
    private = jwt.algorithms.ECAlgorithm.to_jwk(key(OURS), as_dict=True) | {"kid": OURS, "alg": "ES256"}
    shared = {"kty": "oct", "k": "c2VjcmV0", "kid": OURS, "alg": "HS256"}
    key_sets = (None, {"keys": []}, {"keys": [shared]}, {"keys": [private]}, "keys", [])
    method = {"token_endpoint_auth_method": "private_key_jwt"}
    tries = [denied(register(world, **method, jwks=keys), BAD_METADATA) for keys in key_sets]
    with contextlib.suppress(NotHere):
        for keys in key_sets:
            try:
                world.register_machine(**method, jwks=keys)
                tries.append(got_in("a machine without public keys"))
            except httpx2.HTTPStatusError as error:
                tries.append(denied(error.response, BAD_METADATA))
    return worst(*tries)


@attack("ATK-142", "Trusted-brand name", "RFC 7591 §5", "AS", stopped_from="04")
def borrowed_name(world: World) -> Verdict:
    """Anybody may call themselves anything. The page says so, and says where the answer goes."""
    uri = "https://phish.example/cb"
    client = world.register(client_name="Windows Update", application_type="web", redirect_uris=[uri])
    page = world.auth.get("/authorize", params=world.ask(client["client_id"], redirect_uri=uri)).raise_for_status()
    text = re.sub(r"<[^>]*>", "", page.text)
    needed = {"phish.example": "where the answer goes", "nobody has checked|not verified": "that the name is a claim"}
    needed |= {"calls itself|registered itself": "that it registered itself"}
    missing = [what for words, what in needed.items() if not re.search(words, text, re.IGNORECASE)]
    backwards = denied(register(world, client_name="Windows \u202eetadpU\u202c"), BAD_METADATA)
    if missing:
        return worst(backwards, got_in(f"the page does not say {', or '.join(missing)}"))
    return backwards


@attack("ATK-143", "Wrong content type or method", "RFC 7591 §3.1", "AS", stopped_from="04")
def not_a_registration(world: World) -> Verdict:
    expected = ((415, "invalid_client_metadata"), BAD_METADATA)
    as_json = world.auth.build_request("POST", "/register", json=NATIVE).content
    tries = [denied(world.auth.post("/register", data=NATIVE), *expected)]
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "text/json", ""):
        answer = world.auth.post("/register", content=as_json, headers={"Content-Type": media_type})
        tries.append(denied(answer, *expected))
    for body in (b"[" + as_json + b"]", b"null", b"", b"\xff\xfe", as_json + as_json):
        tries.append(denied(world.auth.post("/register", content=body, headers=JSON), *expected))
    return worst(*tries, *(denied_this_way(world.auth.request(way, "/register"), "POST") for way in ("GET", "PUT")))

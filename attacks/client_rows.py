"""Groups A, B, F, G, H and I, where the client answers: to servers and browsers that are not what they seem."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import httpx2

from attacks import programs_client
from attacks.core import (
    NotHere,
    Verdict,
    answer_in,
    as_specified,
    attack,
    denied_at_home,
    got_in,
    otherwise,
    worst,
)
from attacks.hostile import (
    EVIL,
    PRM,
    PRM_URL,
    TOKENS,
    Net,
    Visit,
    bringing,
    client_of,
    ended,
    evil_net,
    give_a_browser,
    honest_net,
    honest_visit,
    metadata,
    metadata_url,
    overheard,
    stopped_with,
    walk,
)
from attacks.programs import Finished
from attacks.world import InProcess, World
from shared import console
from shared.addresses import ISSUER, RESOURCE
from shared.browser import waiting_for_redirect

PUSHED = "a-code-from-an-attacker"
MARKUP = "<script>alert(1)</script>"
ESCAPE = "\x1b]0;renamed\x07"  # a terminal that obeys this renames its window
OLD_CLIENT = {"client_id": "the-old-client-id", "client_secret": "the-old-secret"}
OLD_TOKENS = TOKENS | {"access_token": "the-old-access-token", "refresh_token": "the-old-refresh-token"}


@attack("ATK-017", "AS without PKCE offered to the client", "OAuth 2.1 §7.5.2", "C", stopped_from="04")
def no_pkce(world: World) -> Verdict:
    offers = (None, [], ["plain"], "S256 will come", {"S256": False})
    nets = [honest_net().at(metadata_url(), metadata(code_challenge_methods_supported=offer)) for offer in offers]
    ends = [(walk(world, net), net) for net in nets]
    return worst(*(got_in("the browser was opened") if net.visited else stopped_with(words) for words, net in ends))


@attack("ATK-032", "state missing in the callback", "RFC 9700 §4.7", "C", stopped_from="04")
def no_state(world: World) -> Verdict:
    return worst(*(dropped(world, bringing(code=PUSHED, state=state)) for state in (None, "")))


def dropped(world: World, visit: Visit) -> Verdict:
    """The client goes on waiting as if nobody had come, and takes the honest answer when that comes."""
    net = honest_net()
    words = walk(world, net, visit, honest_visit)
    if net.was_told(PUSHED):
        return got_in("the attacker's code went to the token endpoint")
    return otherwise(f"the honest answer was lost: {words}") if words else as_specified("dropped")


@attack("ATK-034", "Mix-up: iss of another AS", "RFC 9207 §2.4", "C", stopped_from="04")
def mix_up(world: World) -> Verdict:
    """The attacker's server borrows the honest one's page, and hopes to be told the code that comes back."""
    borrowed = f"{ISSUER}/authorize"
    silent = {"authorization_response_iss_parameter_supported": None}
    nets = (evil_net(authorization_endpoint=borrowed), evil_net(authorization_endpoint=borrowed, **silent))
    others = (EVIL, f"{ISSUER}/", ISSUER.upper(), f"{ISSUER}:80", "null")
    return worst(
        *(never_redeemed(world, net, honest_visit) for net in nets),
        *(never_redeemed(world, honest_net(), bringing(iss=other)) for other in others),
    )


@attack("ATK-035", "iss missing although advertised", "RFC 9207 §2.4", "C", stopped_from="04")
def no_iss(world: World) -> Verdict:
    return worst(*(never_redeemed(world, honest_net(), bringing(iss=iss)) for iss in (None, "")))


def never_redeemed(world: World, net: Net, visit: Visit) -> Verdict:
    words = walk(world, net, visit)
    return got_in("the code went to a token endpoint") if net.was_told("the code") else stopped_with(words)


@attack("ATK-037", "Mix-up in an error response", "RFC 9207 §2.4; MCP iss validation", "C", stopped_from="04")
def error_of_another_server(world: World) -> Verdict:
    """What the attacker writes would be read by a person who trusts the program that shows it."""
    lie = {"error": "access_denied", "error_description": "call 555 0100", "error_uri": f"{EVIL}/help"}
    net = honest_net()
    with overheard() as said:
        words = walk(world, net, bringing(code=None, iss=EVIL, **lie))
    if any(text in words + said[0] for text in lie.values()):
        return got_in("the client showed what the attacker wrote")
    if len(net.visited) != 1:
        return otherwise("the client acted on it")
    return stopped_with(words)


@attack("ATK-107", "Step-up loop", "MCP Step-Up Authorization Flow", "C", stopped_from="06")
def step_up_loop(world: World) -> Verdict:
    """Whatever a person allows is never enough. The client asks twice, gives up, and remembers that."""
    challenge = 'Bearer error="insufficient_scope", scope="mcp:exec:workflows:rebalance"'
    net = honest_net()
    call_rebalance = caller(world, net)
    net.at(RESOURCE, {}, 403, **{"WWW-Authenticate": challenge})
    first = ended(call_rebalance)
    asked = len(net.visited)
    again = ended(call_rebalance)
    if asked > 2 or len(net.visited) > asked:
        return got_in(f"the user was asked {len(net.visited)} times")
    if asked == 0 or any("sentiment" not in url or "rebalance" not in url for url in net.visited):
        return otherwise("the user was not asked for what they had and what is needed")
    return worst(stopped_with(first), stopped_with(again))


def caller(world: World, net: Net) -> Callable[[], object]:
    """The client with a first token, about to call a tool."""
    if isinstance(world, Finished):
        programs_client.walk(world, net, [honest_visit])
        net.visited.clear()
        return lambda: programs_client.call(world, net, "rebalance", [honest_visit])
    client = client_of(world)
    if not hasattr(client, "step_up"):
        raise NotHere("no step-up")
    give_a_browser(client, net)
    session = client.Session(metadata(), {"client_id": "c-1"}, {"mcp:tools:sentiment"}, TOKENS)
    return lambda: client.call(net.http, session, "rebalance", portfolio={})


@attack(
    "ATK-127",
    "Service credentials steered to another AS",
    "MCP Authorization Server Binding (SEP-2352)",
    "C",
    stopped_from="08",
)
def steered_elsewhere(world: World) -> Verdict:
    """Whoever is told a secret can use it. So nobody is but the server that it belongs to, whoever is named."""
    if not isinstance(world, Finished):
        client_of(world)
        if "machine.py" not in world.step.files:
            raise NotHere("no machine")
    lists = ([EVIL], [EVIL, ISSUER], [f"{ISSUER}/"], [ISSUER.upper()])
    return worst(*(steered(world, evil_net().at(PRM_URL, PRM | {"authorization_servers": one})) for one in lists))


def steered(world: World, net: Net) -> Verdict:
    """The machine's walk, with nobody in reach but those on this net."""
    if isinstance(world, Finished):
        words = ended(lambda: programs_client.machine_walk(world, net))
    else:
        machine = world.loaded.module("machine")
        machine.httpx2 = SimpleNamespace(Client=lambda **_: net.http)
        words = ended(machine.main)
    sent = [str(request.url) for request in net.asked if request.method == "POST" and str(request.url) != RESOURCE]
    if any(not url.startswith(f"{ISSUER}/") for url in sent):
        return got_in(f"credentials went to {sent[0]}")
    return as_specified("its own server, which was named too") if sent else stopped_with(words)


@attack(
    "ATK-151",
    "Credentials reused at a new AS",
    "MCP Authorization Server Binding (SEP-2352)",
    "C",
    stopped_from="04",
)
def credentials_elsewhere(world: World) -> Verdict:
    """The MCP server changes its mind about who makes its tokens: nothing of the old one is told to the new one."""
    before = honest_net().at(f"{ISSUER}/register", OLD_CLIENT, 201).at(f"{ISSUER}/token", OLD_TOKENS)
    if words := walk(world, before):
        return otherwise(f"could not begin: {words}")
    now = evil_net()
    words = walk(world, now, bringing(iss=EVIL), keep=True)
    told = [value for value in (OLD_CLIENT | OLD_TOKENS).values() if str(value).startswith("the-old")]
    if any(now.was_told(secret) or secret in str(now.visited) for secret in told):
        return got_in("the new server was told what the old one had given")
    if words or f"{EVIL}/register" not in now.urls():
        return otherwise(words or "the client did not register anew")
    if isinstance(world, Finished):
        return as_specified("registered anew")
    if hasattr(client := client_of(world), "token_file"):
        client.token_file.keep(ISSUER, OLD_CLIENT, OLD_TOKENS)
        if any(client.token_file.kept(EVIL)):
            return got_in("the new server would be told the tokens that were kept")
    return as_specified("registered anew")


@attack("ATK-158", "XSS at the client's callback page", "OAuth 2.1 §7.11", "C", stopped_from="04")
def markup_at_the_callback(world: World) -> Verdict:
    """The page in the browser repeats nothing, and the terminal shows text as text."""
    brought = {name: MARKUP for name in ("error", "error_description", "state", MARKUP)}
    with callback_page(world) as callback:
        pages = [httpx2.get(callback.uri, params=brought), httpx2.get(f"{callback.uri}/{MARKUP}")]
    foreign, own = bringing(code=None, state="x", error="a stranger's"), bringing(code=None, error=MARKUP + ESCAPE)
    with overheard() as said:
        words = walk(world, honest_net(), foreign, own)
    if any("<script" in page.text for page in pages):
        return got_in("the page runs what the attacker wrote")
    if "\x1b]" in words + said[0]:
        return got_in("the terminal obeys what the attacker wrote")
    if "a stranger's" in words + said[0]:
        return otherwise("the client showed what came without its state")
    return stopped_with(words)


@contextmanager
def callback_page(world: World) -> Iterator[object]:
    """The page where the client waits for its user, on a real socket."""
    if not isinstance(world, Finished):
        client_of(world)
        with waiting_for_redirect() as callback:
            yield callback
        return
    callback = world.loaded.module("client.callback").Callback(console.note, browser=False)
    try:
        yield callback
    finally:
        callback.close()


@attack("ATK-163", "User denies", "OAuth 2.1 §4.1.2.1", "AS, C", stopped_from="04")
def user_denies(world: World) -> Verdict:
    """No is an answer: it goes home with everything that belongs to it, and the client does not ask again."""
    answer = world.consent(world.ask(world.register()["client_id"]), decision="deny")
    verdict = denied_at_home(answer, "access_denied")
    if answer_in(answer).get("state") != "the state":
        return worst(verdict, otherwise("state was lost on the way"))
    if not isinstance(world, InProcess):
        return verdict
    net = honest_net()
    words = walk(world, net, bringing(code=None, error="access_denied", error_description="the user said no"))
    if len(net.visited) != 1 or f"{ISSUER}/token" in net.urls():
        return worst(verdict, otherwise("the client asked again"))
    told = "the user said no" in words or "access_denied" in words
    return worst(verdict, stopped_with(words) if told else otherwise(f"not reported: {words}"))

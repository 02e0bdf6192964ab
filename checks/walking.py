"""The student's client, walked through its own `main` with stand-ins for everybody it talks to.

What the client is made of inside is the student's business: all that counts is what it asks of whom.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from unittest import mock
from urllib.parse import parse_qs

import httpx2

from attacks.core import answer_in
from attacks.hostile import TRIPPED, FakeCallback, Net, Visit, ended, honest_net, honest_visit
from attacks.world import World
from checks.core import Failed, client, expect
from shared import browser
from shared.addresses import ISSUER

REFUSED = httpx2.Response(400, json={"error": "invalid_redirect_uri"})


class Enough(Exception):
    """The client has its token and turns to the tools: we have seen what we wanted to see."""


@dataclass
class Walk:
    """Whom the client asked, where it sent its user, and how it stopped in its own words (if it did)."""

    net: Net
    words: str = ""
    pages: list[dict[str, str]] = field(default_factory=list)

    @property
    def stopped(self) -> bool:
        """With a sentence for its user. A stack trace is none."""
        return bool(self.words) and not self.words.startswith(TRIPPED)

    def went_to(self, url: str) -> bool:
        return any(one.startswith(url) for one in [*self.net.urls(), *self.net.visited])

    def form(self, url: str) -> dict[str, str]:
        """The first form that was posted there."""
        sent = [request for request in self.net.asked if str(request.url) == url and request.method == "POST"]
        if not sent:
            raise Failed(f"The client posted nothing to {url}. {self.ending()}")
        return {name: values[0] for name, values in parse_qs(sent[0].content.decode()).items()}

    def ending(self) -> str:
        return f"It ended with: {self.words}" if self.words else "It went on to its end."


def walk(world: World, net: Net, *visits: Visit) -> Walk:
    """Run `main` of the student's client against this net; these visits come to its callback page."""
    program = client(world)
    expect(callable(getattr(program, "main", None)), "client.py has no function main, where its walk begins.")
    getattr(program, "registrations", {}).clear()
    found = Walk(only_the_first_registration(net))
    with ExitStack() as stack:
        for name, stand_in in (("Client", reaching(net)), ("AsyncClient", enough)):
            stack.enter_context(mock.patch.object(httpx2, name, stand_in))
        for module in (browser, program):
            if hasattr(module, "waiting_for_redirect"):
                stack.enter_context(mock.patch.object(module, "waiting_for_redirect", callback(net, visits)))
        found.words = ended(lambda: to_the_token(program.main))
    found.pages = [answer_in(httpx2.Response(302, headers={"location": url})) for url in net.visited]
    return found


def to_the_token(main: object) -> None:
    try:
        main()
    except Enough:
        pass
    except BaseExceptionGroup as group:
        if group.subgroup(Enough) is None:
            raise


def reaching(net: Net) -> object:
    """A constructor of clients that reach this net and nobody else, whatever they are told."""
    connect = httpx2.Client
    return lambda **_: connect(transport=httpx2.MockTransport(net.answer))


def enough(**_: object) -> None:
    raise Enough


def callback(net: Net, visits: tuple[Visit, ...]) -> object:
    @contextmanager
    def waiting_for_redirect() -> Iterator[FakeCallback]:
        yield FakeCallback(net, list(visits) or [honest_visit])

    return waiting_for_redirect


def only_the_first_registration(net: Net) -> Net:
    """Some walks go on to register what no server may take; ours takes the first, and no other."""
    place, usual = f"{ISSUER}/register", net.answer

    def answer(request: httpx2.Request) -> httpx2.Response:
        found = usual(request)
        again = str(request.url) == place and net.urls().count(place) > 1
        return REFUSED if again and found.status_code == 201 else found

    net.answer = answer
    return net


def expect_walk(world: World) -> Walk:
    """The honest walk, which must get as far as this step goes: without it, a refusal would prove nothing."""
    found = walk(world, honest_net())
    expect(not found.words, f"The client does not get through an honest walk. {found.ending()}")
    return found


def expect_refusal(world: World, net: Net, *visits: Visit, before: str) -> None:
    """The client stops with a sentence, and has asked nothing of any such address."""
    found = walk(world, net, *visits)
    expect(not found.went_to(before), f"The client went on to {before}.")
    expect(found.stopped, f"The client did not stop with a sentence. {found.ending()}")

"""What the programs of this workshop say."""

import os
import socket
from unittest import mock

import httpx2

from attacks.world import CALLBACK
from exhibits.core import group
from exhibits.oauth_answers import text_of
from exhibits.stage import free_port, servers
from shared import addresses, console
from shared.serving import PortTaken, check_free
from shared.stop import Stop
from tools import catalogue

exhibit = group("This workshop")
TERMINAL = "In the terminal."


@exhibit(
    "port-taken",
    "Port … is taken by another program (or by a `serve` of ours). Stop it, or choose another port: …",
    seen=TERMINAL,
    cause="Something listens on a port that a server of the step wants: a `python -m steps serve` in another "
    "terminal, or another program: many demos want 8000.",
    cure="End it, or choose other ports: `AS_PORT`, `MCP_PORT`, `NEIGHBOUR_PORT`, `UPSTREAM_PORT`.",
    step="01",
)
def port_taken() -> str:
    with socket.create_server(("127.0.0.1", 0)) as first:
        try:
            check_free([first.getsockname()[1]])
        except PortTaken as error:
            return str(error)
    return "It was free."


@exhibit(
    "not-a-port",
    "AS_PORT=… is not a port: choose a number from 1 to 65535.",
    seen=TERMINAL,
    cause="An environment variable holds something else than a port, such as a whole address.",
    cure="`AS_PORT=9010`, only the number.",
    step="01",
)
def not_a_port() -> str:
    with mock.patch.dict(os.environ, AS_PORT="localhost:9000"):
        try:
            return str(addresses.port_from_environment("AS_PORT", 9000))
        except SystemExit as end:
            return str(end)


@exhibit(
    "nobody-answers",
    "Nobody answers at …: is the … running?",
    seen=TERMINAL,
    cause="A client of a step was started alone, and its servers are not up; or they are on other ports.",
    cure="`python -m steps serve` with the step's number in another terminal; it prints the command for the "
    "client, with the ports.",
    step="01",
)
def nobody_answers() -> str:
    try:
        httpx2.get(f"http://localhost:{free_port()}/mcp")
    except httpx2.TransportError as error:
        return console.sentence_for(error)
    return "Somebody answered."


@exhibit(
    "no-such-step",
    "There is no step '…'. There are: 01, 02, …",
    seen=TERMINAL,
    cause="There is no step with this number.",
    cure="`python -m steps list` shows them.",
    step="01",
)
def no_such_step() -> str:
    try:
        return catalogue.step_named("42").title
    except Stop as error:
        return str(error)


@exhibit(
    "secret-not-set",
    "INITIAL_ACCESS_TOKEN is not set.",
    seen=TERMINAL,
    cause="A server or the machine of step 08 was started alone. It needs a secret that it shares with the others.",
    cure="Let `python -m steps serve 08` start the servers; it prints the command with the secret.",
    step="08",
)
def secret_not_set() -> str:
    with mock.patch.dict(os.environ):
        os.environ.pop("INITIAL_ACCESS_TOKEN", None)
        try:
            return addresses.secret_from_environment("INITIAL_ACCESS_TOKEN")
        except SystemExit as end:
            return str(end)


@exhibit(
    "another-browser",
    "This page was shown in another browser.",
    seen="On a page of the authorization server.",
    cause="The form came without the cookie that was set with the page: it was opened in one browser and sent "
    "from another, cookies are switched off, or another website sent it (CSRF, RFC 6749 §10.12).",
    cure="Begin again in the program you came from, and stay in one browser.",
    step="07",
)
def another_browser() -> str:
    with servers() as world:
        ask = world.ask(world.register()["client_id"], redirect_uri=CALLBACK)
        fields = world.page(ask) | {"username": "alice", "password": "wonderland", "decision": "allow"}
        with world.browser() as other:
            return text_of(other.post("/consent", data=fields).text)


@exhibit(
    "answered-already",
    "This page has been answered already, or never was.",
    seen="On a page of the authorization server.",
    cause="The form was sent a second time, with the back button or by a double click. One page, one answer.",
    cure="Nothing, if the program went on. Otherwise begin again there.",
    step="04",
)
def answered_already() -> str:
    with servers() as world:
        ask = world.ask(world.register()["client_id"])
        fields = world.page(ask) | {"username": "alice", "password": "wonderland", "decision": "allow"}
        world.auth.post("/consent", data=fields)
        return text_of(world.auth.post("/consent", data=fields).text)


@exhibit(
    "wrong-password",
    "This name and this password do not belong together.",
    seen="On the consent page.",
    cause="The name or the password is wrong. The page does not say which: that would help to guess names.",
    cure="The page shows the names and passwords of the demo's people: alice has `wonderland`.",
    step="04",
)
def wrong_password() -> str:
    with servers() as world:
        return text_of(world.consent(world.ask(world.register()["client_id"]), password="looking glass").text)

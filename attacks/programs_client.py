"""The finished client on a net that lies: played by its own provider, with a browser that brings what we like."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import anyio
import httpx2

from attacks.programs import Finished
from attacks.world import CALLBACK, LIST_TOOLS, MCP_HEADERS
from shared import console
from shared.addresses import ISSUER, RESOURCE
from shared.stop import Stop


def walk(world: Finished, net: object, visits: list[Callable], keep: bool = False) -> None:
    """Ask the MCP server until it answers. Raises `Stop` with what the client would tell its user."""
    run(world, net, visits, LIST_TOOLS, keep)


def walk_to(server: str, world: Finished, net: object, visits: list[Callable], keep: bool = False) -> None:
    """The same to another MCP server than ours."""
    run(world, net, visits, LIST_TOOLS, keep, server=server)


def machine_walk(world: Finished, net: object) -> None:
    """The same for a machine, whose credentials belong to our issuer."""
    about = {"client_id": "a machine", "client_secret": "the machine's secret", "issuer": ISSUER, "is_machine": True}
    run(world, net, [], LIST_TOOLS, False, **about)


def call(world: Finished, net: object, tool: str, visits: list[Callable]) -> None:
    """Call a tool with what is kept, and do what the server says is missing."""
    params = LIST_TOOLS["params"] | {"name": tool, "arguments": {}}
    run(world, net, visits, LIST_TOOLS | {"method": "tools/call", "params": params}, True)


def run(world: Finished, net: object, visits: list[Callable], message: dict, keep: bool, **options: object) -> None:
    try:
        anyio.run(one_request, world, net, visits, message, keep, options)
    except Exception as error:
        if told := world.loaded.module("client.output").sentence(error):
            raise Stop(told) from error
        raise


async def one_request(
    world: Finished, net: object, visits: list[Callable], message: dict, keep: bool, about: dict
) -> None:
    session = world.loaded.module("client.session")
    options = session.Options(**{"server": RESOURCE} | about)
    provider = session.provider_for(options, session.Belongings(store_of(world, keep), options, console.note))
    provider.open_callback = lambda port: played(world, net, visits)
    name = message["params"].get("name")
    headers = MCP_HEADERS | {"Mcp-Method": message["method"]} | ({"Mcp-Name": name} if name else {})
    transport = httpx2.MockTransport(net.answer)
    async with httpx2.AsyncClient(auth=provider, transport=transport) as http:
        answer = await http.post(options.server, json=message, headers=headers)
    if answer.status_code != 200:
        raise Stop(f"The MCP server answers {answer.status_code}.")


def played(world: Finished, net: object, visits: list[Callable]) -> object:
    """The client's own page, but for its socket: these visits come to it, and it judges each."""
    module = world.loaded.module("client.callback")

    class Played(module.Callback):
        uri = CALLBACK

        def __init__(self) -> None:
            self.say, self.state, self.answers = console.note, b"", module.queue.Queue()
            self.visits, self.ask = [], {}

        async def send(self, url: str) -> None:
            net.visited.append(url)
            self.visits = list(visits)
            self.ask = dict(parse_qsl(urlsplit(url).query))
            self.state = self.ask.get("state", "").encode()

        async def wait(self) -> dict[str, str]:
            while self.visits:
                if self.take(f"{CALLBACK}?{urlencode(self.visits.pop(0)(self.ask))}"):
                    return self.answers.get_nowait()
            raise Stop("Nobody else comes to the callback page.")

        def close(self) -> None: ...

    return Played()


def store_of(world: Finished, keep: bool) -> object:
    """A file of this world's own. The user's own keyring may be worth something."""
    storage = world.loaded.module("client.storage")
    path = Path(world.folder) / "client" / "belongings.json"
    if not keep:
        path.unlink(missing_ok=True)
    return storage.Store(storage.File(path), path.parent)

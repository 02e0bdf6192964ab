"""The commands: ask the server, and say what it answered. Each returns that as JSON, and as a text for people."""

import contextlib
import json
import sys
import time
from dataclasses import dataclass

import click
from mcp import Client, MCPError
from mcp.types import CallToolResult, Tool
from pydantic import BaseModel

from shared.stop import Stop

from . import output
from .belongings import Belongings
from .options import Options
from .session import connected, log_out

MOST_PAGES = 100
Told = tuple[object, str]


@dataclass
class Use:
    """One command line, read: what to do it with."""

    options: Options
    belongings: Belongings

    async def perform(self, command: str, words: dict) -> Told:
        """Raises `Stop` if there are tokens, and they are of another client or issuer than the options name."""
        options, issuer, held = self.options, self.belongings.issuer, await self.belongings.get_client_info()
        if held and self.belongings.kept() and not options.is_machine and command != "login":
            if options.client_id not in (None, held.client_id) or options.issuer not in (None, issuer):
                who = f"You are logged in to {options.server} as the client {held.client_id} of {issuer}"
                raise Stop(f"{who}. `login` with these options begins anew.")
        return await getattr(self, command)(**words)

    async def login(self) -> Told:
        options = self.options
        self.belongings.forget_step_ups()
        if options.scope or options.client_id or options.issuer or options.client_metadata_url:
            await log_out(options, self.belongings)
        async with connected(self.options, self.belongings, ask) as mcp:
            await mcp.list_tools()  # some servers let everybody in until something is asked for
        about = {"server": options.server, "logged_in": False}
        if not (tokens := await self.belongings.get_tokens()):
            return about, "The server asked for no login."
        about |= {"logged_in": True, "issuer": self.belongings.issuer, "scope": tokens.scope}
        return about, f"Logged in to {options.server} for: {tokens.scope}."

    async def whoami(self) -> Told:
        return await self.call("whoami", ())

    async def token(self, raw: bool) -> Told:
        if not (tokens := await self.belongings.get_tokens()):
            raise Stop(f"There is no token for {self.options.server}. `login` gets one.")
        if raw:
            return {"access_token": tokens.access_token}, tokens.access_token
        about = {"server": self.options.server, "issuer": self.belongings.issuer, "scope": tokens.scope}
        if expires_at := self.belongings.kept()["expires_at"]:
            about["expires_in"] = round(expires_at - time.time())  # seconds
        about["renews"] = bool(tokens.refresh_token)
        return about, output.table("The access token", about)

    async def logout(self, forget: bool) -> Told:
        done = await log_out(self.options, self.belongings, forget)
        if not done["logged_out"]:
            return done, "There was no login."
        doubt = " The authorization server did not confirm it: the tokens may live until they expire."
        return done, "Logged out." + doubt * (not done["revoked"])

    async def tools(self) -> Told:
        async with connected(self.options, self.belongings, ask) as mcp:
            found = (await all_tools(mcp)).values()
        rows = {" ".join([tool.name, *properties(tool)]): tool.description for tool in found}
        return [plain(tool) for tool in found], output.table("Tools", rows)

    async def call(self, name: str, arguments: tuple[str, ...]) -> Told:
        pairs = [argument.partition("=") for argument in arguments]
        given = {key: value for key, sign, value in pairs if key and sign}
        if len(given) != len(pairs):
            raise click.UsageError("Give each argument once, as KEY=VALUE.")
        async with connected(self.options, self.belongings, ask) as mcp:
            tool = (await all_tools(mcp)).get(name) if given else None
            result = await mcp.call_tool(name, {key: typed_value(value, tool, key) for key, value in given.items()})
        return told(result)

    async def resources(self) -> Told:
        async with connected(self.options, self.belongings, ask) as mcp:
            listed = list((await mcp.list_resources()).resources)
            with contextlib.suppress(MCPError):  # not every server has templates too
                listed += (await mcp.list_resource_templates()).resource_templates
        rows = {str(getattr(one, "uri", "") or one.uri_template): one.description or one.name for one in listed}
        return [plain(one) for one in listed], output.table("Resources", rows)

    async def read(self, uri: str) -> Told:
        async with connected(self.options, self.belongings, ask) as mcp:
            result = await mcp.read_resource(uri)
        return plain(result), "\n".join(getattr(one, "text", f"({one.mime_type})") for one in result.contents)


async def ask(issuer: str) -> tuple[str, str] | None:
    """The person types a client_id, if there is a person and a terminal."""
    if not sys.stdin.isatty():
        return None
    output.say(f"{issuer} registers nobody by itself. Register this client there, with http://127.0.0.1/callback.")
    with contextlib.suppress(click.Abort):
        client_id = click.prompt("client_id", err=True)
        return client_id, click.prompt("client_secret (none: Enter)", "", err=True, show_default=False, hide_input=True)
    return None


def plain(answer: BaseModel) -> dict:
    return answer.model_dump(mode="json", by_alias=True, exclude_none=True)


def told(result: CallToolResult) -> Told:
    """Raises `Stop` if the tool says that it failed."""
    text = "\n".join(getattr(block, "text", f"({block.type})") for block in result.content)
    if result.is_error:
        raise Stop(f"The tool says no: {' '.join(text.split())}")
    return plain(result), text


async def all_tools(mcp: Client) -> dict[str, Tool]:
    """By name. Page by page; a server that never ends is not followed for ever."""
    found, cursor = {}, None
    for _ in range(MOST_PAGES):
        page = await mcp.list_tools(cursor=cursor)
        found |= {tool.name: tool for tool in page.tools}
        if not (cursor := page.next_cursor):
            break
    return found


def properties(tool: Tool) -> dict:
    found = tool.input_schema.get("properties")
    return found if isinstance(found, dict) else {}


def typed_value(text: str, tool: Tool | None, key: str) -> object:
    """As JSON, if that parses and the tool's schema wants more than text. For an unknown tool, 42 stays text."""
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate parses, and cannot be sent
    except (ValueError, RecursionError):
        return text
    if not tool:
        return value if isinstance(value, dict | list) else text
    schema = properties(tool).get(key)
    is_text = isinstance(schema, dict) and schema.get("type") == "string"
    return text if is_text or isinstance(value, str) else value

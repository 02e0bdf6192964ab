"""The commands: ask the server, and say what it answered. Each returns that as JSON, and as a text for people."""

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

import click
from mcp import Client, MCPError
from mcp.types import METHOD_NOT_FOUND, CallToolResult, Tool
from pydantic import BaseModel

from shared.stop import Stop

from . import output
from .belongings import Belongings
from .options import Options
from .session import belongings_for, connected, log_out
from .storage import Store

MOST_PAGES = 100
Told = tuple[object, str]


@dataclass
class Use:
    """One command line, read: what to do it with."""

    options: Options
    store: Store

    def connected(self) -> contextlib.AbstractAsyncContextManager[Client]:
        return connected(self.options, self.store, output.say, ask)

    def belongings(self) -> Belongings:
        return belongings_for(self.options, self.store, output.say)

    async def login(self) -> Told:
        self.belongings().forget_step_ups()
        if self.options.scope or self.options.client_id or self.options.client_metadata_url:
            await log_out(self.options, self.store, output.say)
        async with self.connected() as mcp:
            await mcp.list_tools()  # some servers let everybody in until something is asked for
        about, tokens = {"server": self.options.server}, await self.belongings().get_tokens()
        if not tokens:
            return about | {"logged_in": False}, "The server asked for no login."
        about |= {"logged_in": True, "issuer": self.belongings().issuer, "scope": tokens.scope}
        return about, f"Logged in to {self.options.server} for: {tokens.scope}."

    async def whoami(self) -> Told:
        async with self.connected() as mcp:
            known = "whoami" in {tool.name for tool in await all_tools(mcp)}
            if not known:
                raise Stop("The server has no tool that says it. `token` shows what we hold.")
            result = await mcp.call_tool("whoami")
        return told(result)

    async def token(self, raw: bool) -> Told:
        belongings, about = self.belongings(), {"server": self.options.server}
        if not (tokens := await belongings.get_tokens()):
            raise Stop(f"There is no token for {self.options.server}. `login` gets one.")
        if raw:
            return {"access_token": tokens.access_token}, tokens.access_token
        about |= {"issuer": belongings.issuer, "scope": tokens.scope}
        about |= {"expires": output.moment(belongings.kept()["expires_at"]), "renews": bool(tokens.refresh_token)}
        claims = output.claims_in(tokens.access_token)
        title = "The access token (claims not verified)" if claims else "The access token (opaque)"
        rows = about | {f"claim {name}": value for name, value in claims.items()}
        return about | {"claims": claims}, output.table(title, rows)

    async def logout(self, forget: bool) -> Told:
        done = await log_out(self.options, self.store, output.say, forget)
        if not done["logged_out"]:
            return done, "There was no login."
        doubt = " The authorization server did not confirm it: the tokens may live until they expire."
        return done, "Logged out." + doubt * (not done["revoked"])

    async def tools(self) -> Told:
        async with self.connected() as mcp:
            found = await all_tools(mcp)
        rows = {" ".join([tool.name, *tool.input_schema.get("properties", {})]): tool.description for tool in found}
        return [plain(tool) for tool in found], output.table("Tools", rows)

    async def call(self, name: str, arguments: tuple[str, ...]) -> Told:
        pairs = [argument.partition("=") for argument in arguments]
        given = {key: value for key, sign, value in pairs if key and sign}
        if len(given) != len(pairs):
            raise click.UsageError("Give each argument once, as KEY=VALUE.")
        async with self.connected() as mcp:
            tools = await all_tools(mcp) if given else []
            tool = next((tool for tool in tools if tool.name == name), None)
            result = await mcp.call_tool(name, {key: typed_value(value, tool, key) for key, value in given.items()})
        return told(result)

    async def resources(self) -> Told:
        async with self.connected() as mcp:
            listed = await optional(mcp.list_resources, "resources")
            listed += await optional(mcp.list_resource_templates, "resource_templates")
        rows = {str(getattr(one, "uri", "") or one.uri_template): one.description or one.name for one in listed}
        return [plain(one) for one in listed], output.table("Resources", rows)

    async def read(self, uri: str) -> Told:
        async with self.connected() as mcp:
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


async def all_tools(mcp: Client) -> list[Tool]:
    """Page by page; a server that never ends is not followed for ever."""
    found, cursor = [], None
    for _ in range(MOST_PAGES):
        page = await mcp.list_tools(cursor=cursor)
        found += page.tools
        if not (cursor := page.next_cursor):
            break
    return found


async def optional(ask: Callable, kind: str) -> list:
    """What there is of this kind; a server has resources, or templates for them, or both."""
    try:
        return list(getattr(await ask(), kind))
    except MCPError as error:
        if error.error.code == METHOD_NOT_FOUND:
            return []
        raise


def typed_value(text: str, tool: Tool | None, key: str) -> object:
    """As JSON, if that parses and the tool's schema wants more than text."""
    schema = tool.input_schema.get("properties", {}).get(key, {}) if tool else {}
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate parses, and cannot be sent
    except (ValueError, RecursionError):
        return text
    return text if schema.get("type") == "string" or isinstance(value, str) else value

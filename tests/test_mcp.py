"""Behind the door stands a real MCP server: new clients and old ones get in with the same token."""

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.world import LIST_TOOLS, MCP_HEADERS, World, served

pytestmark = [pytest.mark.since("04"), pytest.mark.wire]


def visit(world: World, mode: str) -> tuple[str, list[str], str, str, str]:
    """Everything that is behind the door, as the SDK's client sees it."""
    token = world.access_token()

    async def look(origin: str) -> tuple[str, list[str], str, str, str]:
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http:
            async with Client(streamable_http_client(f"{origin}/mcp", http_client=http), mode=mode) as mcp:
                tools = [tool.name for tool in (await mcp.list_tools()).tools]
                mood = await mcp.call_tool("score_headline", {"headline": "Fraud fears, shares slump"})
                who = await mcp.call_tool("whoami")
                customer = await mcp.read_resource("customers://c-1")
                return mcp.protocol_version, tools, mood.content[0].text, who.content[0].text, customer.contents[0].text

    with served(world.mcp_server.app) as origin:
        return anyio.run(look, origin)


@pytest.mark.parametrize(
    ("mode", "version"), [("auto", "2026-07-28"), ("2026-07-28", "2026-07-28"), ("legacy", "2025-11-25")]
)
def test_the_sdks_client_gets_in_whatever_it_speaks(world: World, mode: str, version: str) -> None:
    spoken, tools, mood, who, customer = visit(world, mode)
    assert spoken == version
    assert tools[0] == "score_headline" and "whoami" in tools
    assert mood == "-1.0"
    assert who.startswith("alice, through client ")
    assert "Ada Brook" in customer


def test_a_session_of_one_person_is_no_key_for_another(world: World) -> None:
    """The old protocol has sessions. Who knows the number of one still needs a token, and the right person's."""
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "a test", "version": "0"},
        },
    }
    headers = {"Accept": "application/json, text/event-stream"}
    alice, bob = ({**headers, "Authorization": f"Bearer {world.access_token(who)}"} for who in ("alice", "bob"))
    session = {"Mcp-Session-Id": world.mcp.post("/mcp", json=hello, headers=alice).headers["mcp-session-id"]}
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    assert world.mcp.post("/mcp", json=ping, headers=alice | session).status_code == 200
    assert world.mcp.post("/mcp", json=ping, headers=bob | session).status_code == 404
    assert world.mcp.post("/mcp", json=ping, headers=headers | session).status_code == 401


def test_a_customer_who_does_not_exist_is_not_found(world: World) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "resources/read",
        "params": LIST_TOOLS["params"] | {"uri": "customers://zzz"},
    }
    headers = MCP_HEADERS | {"Mcp-Method": "resources/read", "Mcp-Name": "customers://zzz"}
    headers["Authorization"] = f"Bearer {world.access_token()}"
    assert world.mcp.post("/mcp", json=call, headers=headers).json()["error"]["code"] == -32602

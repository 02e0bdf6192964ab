"""Where everybody lives. One string per address, the same string everywhere: exact comparison is the point."""

import os

LOOPBACK_HOSTS = ("127.0.0.1", "::1")


def switched_on(name: str) -> bool:
    """Whether an environment variable asks for something: set, and not to 0."""
    return os.environ.get(name, "0") not in ("", "0")


def port_from_environment(name: str, default: int) -> int:
    value = os.environ.get(name) or str(default)
    if not (value.isascii() and value.isdecimal() and 0 < int(value) < 65536):
        raise SystemExit(f"{name}={value} is not a port: choose a number from 1 to 65535.")
    return int(value)


def seconds_from_environment(name: str, default: int, least: int = 1) -> int:
    value = os.environ.get(name) or str(default)
    if not (value.isascii() and value.isdecimal() and len(value) < 10 and int(value) >= least):
        raise SystemExit(f"{name}={value} is not a time: give whole seconds, {least} or more, like {default}.")
    return int(value)


def secret_from_environment(name: str) -> str:
    if not os.environ.get(name):
        raise SystemExit(
            f"{name} is not set. `python -m steps run` with the step's number makes one for its run; "
            "`serve` makes one too, and prints the command that has it."
        )
    return os.environ[name]


AS_PORT = port_from_environment("AS_PORT", 9000)
MCP_PORT = port_from_environment("MCP_PORT", 8000)
NEIGHBOUR_PORT = port_from_environment("NEIGHBOUR_PORT", 8001)
UPSTREAM_PORT = port_from_environment("UPSTREAM_PORT", 8002)

if len({AS_PORT, MCP_PORT, NEIGHBOUR_PORT, UPSTREAM_PORT}) < 4:
    raise SystemExit(
        "AS_PORT, MCP_PORT, NEIGHBOUR_PORT and UPSTREAM_PORT must be four different ports "
        "(9000, 8000, 8001 and 8002 if unset)."
    )

ISSUER = f"http://localhost:{AS_PORT}"
RESOURCE = f"http://localhost:{MCP_PORT}/mcp"
NEIGHBOUR = f"http://localhost:{NEIGHBOUR_PORT}/mcp"
UPSTREAM = f"http://localhost:{UPSTREAM_PORT}"

# A company proxy that is set for every address would otherwise be asked to reach this very computer.
for name in ("NO_PROXY", "no_proxy"):
    os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost", *LOOPBACK_HOSTS]))

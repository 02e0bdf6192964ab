"""Run a server of a step, and follow orders that no server takes from the network: `python -m tools.hand MODULE`.

Whoever started the server gives them through its input. They reach into the running program from outside, as its
operator could with a debugger; nothing in the step knows of them.
"""

import runpy
import secrets
import sys
from types import ModuleType

from shared import serving
from tools import clock


def ahead(seconds: str) -> None:
    """Let so much time pass for this server."""
    clock.turn(programs(), float(seconds))


def rotate(_: str) -> None:
    """Sign with another key from now on, and show only that one."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    tokens = room("tokens")
    tokens.signing_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    tokens.key_id = secrets.token_urlsafe(8)


def revoke(_: str) -> None:
    """Take every refresh token back."""
    room("tokens").refreshable.clear()


def programs() -> list[ModuleType]:
    package = sys.modules["__main__"].__package__ or ""
    return [
        module for name, module in list(sys.modules.items()) if name == "__main__" or name.startswith(f"{package}.")
    ]


def room(name: str) -> ModuleType:
    return sys.modules[f"{sys.modules['__main__'].__package__}.{name}"]


if __name__ == "__main__":
    serving.orders.update(ahead=ahead, rotate=rotate, revoke=revoke)
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)

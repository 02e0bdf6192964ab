"""All rooms of the museum, in the order of docs/errors.md."""

import importlib

ROOMS = (
    "sdk_client",
    "sdk_flow",
    "sdk_server",
    "sdk_auth_server",
    "typescript",
    "oauth_answers",
    "door",
    "tokens",
    "cors",
    "browsers",
    "curl",
    "python",
    "workshop",
)

for room in ROOMS:
    importlib.import_module(f"exhibits.{room}")

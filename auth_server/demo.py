"""For development on one computer: two people whose passwords everybody may read, and two resources."""

import time

from shared.addresses import NEIGHBOUR, RESOURCE
from shared.stop import Stop

from .accounts import Accounts
from .directory import Directory, Resource

PEOPLE = {"alice": "wonderland", "bob": "builder"}  # the page shows the passwords, as a demo may
SCOPES = {
    "mcp:tools:sentiment": "Score the mood of headlines",
    "mcp:resources:customer-data:read": "Read customers and their portfolios",
    "mcp:exec:workflows:rebalance": "Rebalance a portfolio",
    "mcp:resources:customer-data": "Read customers, and all else that concerns them",
}
RESOURCES = {RESOURCE: "Market mood", NEIGHBOUR: "The market mood next door"}


def furnish(directory: Directory, accounts: Accounts, secure: bool = False) -> None:
    """Add what is absent. What an operator has changed stays as it is. `secure`: we speak TLS, so they do too.

    Raises `Stop` where others have accounts: what everybody can sign in to is not for them.
    """
    now, known = time.time(), directory.resources()
    if others := [name for name, _ in directory.everybody() if name not in PEOPLE]:
        raise Stop(f"{others[0]!r} has an account in this database. Give the demo another `data` folder.")
    for username, password in PEOPLE.items():
        if directory.password_hash(username) is None:
            directory.put_person(username, accounts.hash(password), now)
    for url, name in RESOURCES.items():
        url = url.replace("http:", "https:", 1) if secure else url
        if url not in known:
            directory.put_resource(Resource(url, name, SCOPES), now)

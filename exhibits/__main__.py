"""`python -m exhibits NAME` makes an error appear; without a name it lists them; `--write`: docs/errors.md."""

import sys

from tools import environment

if __name__ == "__main__":
    environment.enter("exhibits", sys.argv[1:])

# from here on everything is installed

import argparse

from exhibits import document, everything  # noqa: F401 - fills the museum
from exhibits.core import EXHIBITS, Exhibit
from shared import console
from shared.stop import Stop


def list_them() -> None:
    room = ""
    for exhibit in EXHIBITS.values():
        if exhibit.group != room:
            room = exhibit.group
            console.line((f"\n{room}", "bold"), indent="")
        console.line(f"{exhibit.name:<32}", (exhibit.text, "dim"), indent="  ")


def show(exhibit: Exhibit) -> bool:
    """Make it happen, and print what a person would see. Whether the string is in it."""
    if lack := exhibit.missing():
        raise Stop(lack)
    said = exhibit.reproduce()
    print(said)
    found = exhibit.appears_in(said)
    console.line((f"\n{'This' if found else 'Not there'}: {exhibit.text}", "bold"), indent="")
    console.line(f"Why: {exhibit.cause}\nWhat to do: {exhibit.cure}\nStep: {exhibit.step}", indent="")
    return found


def named(name: str) -> Exhibit:
    if name not in EXHIBITS:
        raise Stop(f"There is no exhibit {name!r}. `python -m exhibits` lists them.")
    return EXHIBITS[name]


def main(given: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m exhibits", description="Error strings, reproduced.")
    parser.add_argument("name", nargs="?", help="the exhibit to show; without it, all are listed")
    parser.add_argument("--write", action="store_true", help="write docs/errors.md anew")
    asked = parser.parse_args(given)
    if asked.write:
        document.write()
    elif asked.name:
        return 0 if show(named(asked.name)) else 1
    else:
        list_them()
    return 0


if __name__ == "__main__":
    codes: list[int] = []
    console.run(lambda: codes.append(main(sys.argv[1:])))
    sys.exit(codes[0])

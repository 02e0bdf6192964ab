"""The steps, as steps/steps.toml tells them."""

import os
import secrets
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path

from shared.addresses import AS_PORT, MCP_PORT, NEIGHBOUR_PORT, UPSTREAM_PORT
from shared.running import Program
from shared.stop import Stop
from tools.environment import ROOT

SWAPPED = {"MCP_PORT": str(NEIGHBOUR_PORT), "NEIGHBOUR_PORT": str(MCP_PORT)}
HAND = "tools.hand"  # runs every server, so that its clock can be turned and its keys changed
FILES = (  # in the order in which a lesson shows them
    "auth_server.py",
    "clients.py",
    "tokens.py",
    "mcp_server.py",
    "bearer.py",
    "scopes.py",
    "hardening.py",
    "upstream.py",
    "discovery.py",
    "client.py",
    "token_file.py",
    "attacker.py",
    "machine.py",
)


@dataclass(frozen=True)
class Step:
    number: str
    folder: str
    title: str
    thesis: str
    servers: list[str]
    touches: list[str] = field(default_factory=list)
    budget: dict[str, int] = field(default_factory=dict)
    walk: str = "client"  # the program that walks through the step
    secrets: list[str] = field(default_factory=list)  # what some of the servers share, made anew for each run
    environment: dict[str, str] = field(default_factory=dict)  # what the servers are told if nobody says otherwise
    lesson: list[str] = field(default_factory=list)  # which exchanges are this step's own, see tools/trace/record.py
    place: str = "steps"  # the folder it lies in: ours, or the student's

    @property
    def path(self) -> Path:
        return ROOT / self.place / self.folder

    @property
    def out(self) -> Path:
        """Where a run leaves its logs and traces."""
        return Path(os.environ.get("OUT") or ROOT / "out").absolute() / f"step-{self.number}"

    @property
    def called(self) -> str:
        return f"step {self.number}"

    @property
    def files(self) -> list[str]:
        return [name for name in FILES if (self.path / name).is_file()]

    def module(self, role: str) -> str:
        return f"{self.place}.{self.folder}.{role}"

    def programs(self) -> list[Program]:
        """The servers to start. The neighbour is the same MCP server at another address."""
        told = {name: os.environ.get(name, value) for name, value in self.environment.items()}
        for name in self.secrets:
            os.environ.setdefault(name, secrets.token_urlsafe(32))
        known = {
            "auth_server": Program("auth_server", self.module("auth_server"), AS_PORT, told, HAND),
            "mcp_server": Program("mcp_server", self.module("mcp_server"), MCP_PORT, told, HAND),
            "neighbour": Program("neighbour", self.module("mcp_server"), NEIGHBOUR_PORT, told | SWAPPED, HAND),
            "upstream": Program("upstream", self.module("upstream"), UPSTREAM_PORT, told, HAND),
        }
        return [known[name] for name in self.servers]


@dataclass(frozen=True)
class Programs(Step):
    """The finished programs, for whoever asks for them as for a step: attacks, and what goes over the wire."""

    @property
    def called(self) -> str:
        return self.title

    @property
    def files(self) -> list[str]:
        found = (path for name in PROGRAMS for path in (ROOT / name).rglob("*.py"))
        return sorted(path.relative_to(ROOT).as_posix() for path in found if not path.name.startswith("__"))


PROGRAMS = ("auth_server", "mcp_server", "client")
FINISHED = Programs(
    number="finished",
    folder=".",
    title="the finished programs",
    thesis="what the steps lead to",
    servers=[],
    place=".",
)


def all_steps(root: Path = ROOT) -> dict[str, Step]:
    found = tomllib.loads((root / "steps" / "steps.toml").read_text(encoding="utf-8"))
    return {number: Step(number=number, **about) for number, about in found.items()}


def step_named(number: str) -> Step:
    steps = all_steps()
    if number.zfill(2) not in steps:
        raise Stop(f"There is no step {number!r}. There are: {', '.join(steps)}.")
    return steps[number.zfill(2)]


def attackable(number: str) -> Step:
    """A step, or the finished programs."""
    if number == FINISHED.number:
        return FINISHED
    if number.zfill(2) not in all_steps():
        raise Stop(f"There is no step {number!r}. There are: {', '.join(all_steps())}; and `{FINISHED.number}`.")
    return step_named(number)


def mine(step: Step) -> Step:
    """The same step as the student builds it, in a folder that no commit of ours touches."""
    return replace(step, place="work", folder=f"step-{step.number}")


def before(step: Step) -> Step:
    numbers = list(all_steps())
    if step.number == numbers[0]:
        raise Stop("Step 01 is the first: there is nothing to compare it with.")
    return all_steps()[numbers[numbers.index(step.number) - 1]]


def after(step: Step) -> list[Step]:
    return [other for number, other in all_steps().items() if number > step.number]

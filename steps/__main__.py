"""The course's one command. `python -m steps` lists the steps; `python -m steps --help` says what else it can do."""

import sys

from tools import environment

if __name__ == "__main__":
    environment.enter("steps", sys.argv[1:])

# from here on everything is installed

import argparse
import importlib
import os
import subprocess
import time

from shared import addresses, console
from shared.running import running
from tools import carry, catalogue, lessons

PORTS = ("AS_PORT", "MCP_PORT", "NEIGHBOUR_PORT", "UPSTREAM_PORT")
OPERATORS = "INITIAL_ACCESS_TOKEN"


def list_steps(_: argparse.Namespace) -> None:
    for step in catalogue.all_steps().values():
        console.line((f"{step.number}  {step.title:<36}", "bold"), step.thesis, indent="")
    console.line("\nStart with ", (command("run", "01"), "bold"), indent="")


def run_step(asked: argparse.Namespace) -> None:
    step = catalogue.step_named(asked.step)
    logs = environment.ROOT / "out" / f"step-{step.number}"
    console.title(f"Step {step.number}: {step.thesis}")
    with running(step.programs(), logs, meanwhile=lambda: importlib.import_module(step.module(step.walk))):
        importlib.import_module(step.module(step.walk)).main()
    console.line(f"\nWhat the servers logged: {logs.relative_to(environment.ROOT).as_posix()}", indent="")
    if following := catalogue.after(step):
        console.line("What changes next: ", (command("diff", following[0].number), "bold"), indent="")
        console.line("Go on with: ", (command("run", following[0].number), "bold"), indent="")
    else:
        console.line("That was the last step so far.", indent="")


def serve_step(asked: argparse.Namespace) -> None:
    step = catalogue.step_named(asked.step)
    with running(step.programs()):
        needed = [*PORTS, OPERATORS] if OPERATORS in step.secrets else PORTS
        ports = [f"{name}={os.environ[name]}" for name in needed if name in os.environ]
        python = environment.PYTHON.relative_to(environment.ROOT).as_posix()
        client = " ".join([*ports, python, "-m", step.module(step.walk)])
        console.line(f"\nThe servers of step {step.number} are up. In another terminal, in this folder:", indent="")
        console.line((client, "bold"), "\nCtrl-C ends them.", indent="")
        while True:
            time.sleep(3600)


def diff_step(asked: argparse.Namespace) -> None:
    step = catalogue.step_named(asked.step)
    diff = lessons.lesson(step)
    if asked.stat:
        for name, (added, removed) in lessons.counted(diff).items():
            console.line(f"{name:<16} ", (f"+{added:<4} ", "green"), (f"-{removed}", "red"), indent="")
        return
    for row in diff.splitlines():
        console.line((row, {"+": "green", "-": "red", "@": "cyan"}.get(row[:1], "")), indent="")


def carry_step(asked: argparse.Namespace) -> None:
    carry.carry(catalogue.step_named(asked.step), say=print, tested=not asked.untested)


def write_lessons(_: argparse.Namespace) -> None:
    for path in lessons.write_all():
        print(f"wrote {path.relative_to(environment.ROOT).as_posix()}")


def run_tests(asked: argparse.Namespace) -> None:
    sys.exit(subprocess.call([sys.executable, "-m", "pytest", *asked.for_pytest], cwd=environment.ROOT))


def attack_step(asked: argparse.Namespace) -> None:
    from attacks import show

    number = catalogue.step_named(asked.step).number
    if asked.issuer or asked.resource:
        issuer, resource = asked.issuer or addresses.ISSUER, asked.resource or addresses.RESOURCE
        sys.exit(show.servers(number, issuer, resource, asked.ids))
    if asked.without == "all":
        sys.exit(show.without_each(number))
    sys.exit(show.without(number, asked.without) if asked.without else show.step(number, asked.ids))


def attack_all(_: argparse.Namespace) -> None:
    from attacks import show

    sys.exit(show.matrix())


def command(verb: str, number: str) -> str:
    """The words to type, the way this person typed the last ones."""
    if "MAKELEVEL" in os.environ:
        return f"make {'step' if verb == 'run' else verb}-{number}"
    return f"python -m steps {verb} {number}"


def arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m steps", description="Authorization for MCP servers, step by step.")
    parser.set_defaults(act=list_steps)
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND")
    verbs.add_parser("list", help="one line per step").set_defaults(act=list_steps)
    for verb, act, text in (
        ("run", run_step, "start the servers of a step, walk its client through them, stop them"),
        ("serve", serve_step, "only the servers, until Ctrl-C"),
        ("diff", diff_step, "what a step adds to the one before"),
        ("attack", attack_step, "attack a step, and say how far each attack gets"),
        ("carry", carry_step, "bring an uncommitted edit of a step into all later steps"),
    ):
        one = verbs.add_parser(verb, help=text, description=text[0].upper() + text[1:] + ".")
        one.add_argument("step", help="the step's number, like 04")
        one.set_defaults(act=act)
        if verb == "diff":
            one.add_argument("--stat", action="store_true", help="only count the lines")
        if verb == "attack":
            one.add_argument("ids", nargs="*", metavar="ATTACK", help="only these, like ATK-001 or 1")
            one.add_argument(
                "--without", metavar="RULE", help="take this rule out of its tuple first; `all`: each in turn"
            )
            one.add_argument("--as", dest="issuer", metavar="URL", help="attack the servers that run: the issuer")
            one.add_argument("--mcp", dest="resource", metavar="URL", help="the resource of the MCP server that runs")
        if verb == "carry":
            one.add_argument("--untested", action="store_true", help="do not run each step's tests after its hop")
    verbs.add_parser("attacks", help="attack all steps, and write the matrix").set_defaults(act=attack_all)
    verbs.add_parser("lessons", help="write every LESSON.diff anew").set_defaults(act=write_lessons)
    verbs.add_parser("test", help="run the tests; what follows goes to pytest", add_help=False).set_defaults(
        act=run_tests
    )
    asked, asked.for_pytest = parser.parse_known_args(given)
    if asked.for_pytest and asked.act is not run_tests:
        parser.error(f"nobody knows what to do with: {' '.join(asked.for_pytest)}")
    return asked


if __name__ == "__main__":
    asked = arguments(sys.argv[1:])
    console.run(lambda: asked.act(asked))

"""What `python -m steps` understands. Each verb is a function; what it needs is imported when it is asked for."""

import argparse
import importlib
import os
import subprocess
import sys
import time
import webbrowser
from pathlib import Path
from types import ModuleType

from shared import addresses, browser, console, pace
from shared.running import running, turn_clocks
from shared.serving import check_free
from tools import carry, catalogue, clock, control, environment, lens_served, lessons, trace
from tools.catalogue import Step
from tools.trace import telling

PORTS = ("AS_PORT", "MCP_PORT", "NEIGHBOUR_PORT", "UPSTREAM_PORT")
OPERATORS = "INITIAL_ACCESS_TOKEN"


# ── learning ──────────────────────────────────────────────────────────────────────────────────────


def list_steps(_: argparse.Namespace) -> None:
    for step in catalogue.all_steps().values():
        console.line((f"{step.number}  {step.title:<36}", "bold"), step.thesis, indent="")
    console.line("\nStart with ", (command("run", "01"), "bold"), indent="")


def run_step(asked: argparse.Namespace) -> None:
    step = chosen(asked)
    console.title(f"Step {step.number}: {step.thesis}")
    console.let_pass = turn_clocks
    if asked.pause:
        os.environ["PAUSE"] = "1"
    if pace.wanted():
        pace.begin(telling.fact, lambda seconds: let_it_not_have_passed(step, seconds))
    elif addresses.switched_on("PAUSE"):
        why = "Nothing stops here, whatever PAUSE says: this is no terminal, so nobody can press Enter."
        console.err.print(why, soft_wrap=True)
    programs, traced = step.programs(), trace.Traced()
    check_free([program.port for program in programs])
    try:
        with trace.of_a_run(step, step.out, traced):
            with running(programs, step.out, meanwhile=lambda: importlib.import_module(step.module(step.walk))):
                importlib.import_module(step.module(step.walk)).main()
            console.line(f"\nWhat the servers logged: {named(step.out)}", indent="")
    finally:
        if traced.page:
            console.line(f"What went over the wire: {named(traced.page)}", indent="")
    if following := catalogue.after(step):
        console.line("What changes next: ", (command("diff", following[0].number), "bold"), indent="")
        console.line("Go on with: ", (command("run", following[0].number), "bold"), indent="")
    else:
        console.line("That was the last step so far.", indent="")


def let_it_not_have_passed(step: Step, seconds: float) -> None:
    """The time that the room has thought is none for our programs: no code and no token has grown old."""
    turn_clocks(-seconds)
    clock.turn(programs_here(step), -seconds)


def programs_here(step: Step) -> list[ModuleType]:
    return [module for name, module in sys.modules.items() if name.startswith(step.module(""))]


def serve_step(asked: argparse.Namespace) -> None:
    step = chosen(asked)
    with running(step.programs()), control.at_hand(step), lens_served.written_down(step):
        needed = [*PORTS, OPERATORS] if OPERATORS in step.secrets else PORTS
        ports = [f"{name}={os.environ[name]}" for name in needed if name in os.environ]
        python = environment.PYTHON.relative_to(environment.ROOT).as_posix()
        client = " ".join([*ports, python, "-m", step.module(step.walk)])
        console.line(f"\nThe servers of step {step.number} are up. In another terminal, in this folder:", indent="")
        console.line((client, "bold"), indent="")
        possible = [order for order, first in control.FIRST.items() if step.number >= first]
        console.line(f"To make something happen to them: python -m steps {' | '.join(possible)}", indent="")
        console.line("Ctrl-C ends them.", indent="")
        while True:
            time.sleep(3600)


def order(asked: argparse.Namespace) -> None:
    console.line(control.give(asked.verb), indent="")


def diff_step(asked: argparse.Namespace) -> None:
    step = catalogue.step_named(asked.step)
    if asked.html:
        from tools import side_by_side

        page = side_by_side.write(step)
        console.line(f"Side by side: {named(page)}", indent="")
        if browser.somebody_is_there():
            webbrowser.open(page.as_uri())
        return
    diff = lessons.lesson(step)
    if asked.stat:
        for name, (added, removed) in lessons.counted(diff).items():
            console.line(f"{name:<16} ", (f"+{added:<4} ", "green"), (f"-{removed}", "red"), indent="")
        return
    for row in diff.splitlines():
        console.line((row, {"+": "green", "-": "red", "@": "cyan"}.get(row[:1], "")), indent="")


def check_step(asked: argparse.Namespace) -> None:
    from checks import show

    number = catalogue.step_named(asked.step).number
    sys.exit(show.check(number, asked.hint, asked.issuer, asked.resource, asked.only or os.environ.get("ONLY")))


def start_step(asked: argparse.Namespace) -> None:
    from checks import workplace

    workplace.start(catalogue.step_named(asked.step).number)


def reset_step(asked: argparse.Namespace) -> None:
    from checks import workplace

    workplace.reset(catalogue.step_named(asked.step).number)


def progress(_: argparse.Namespace) -> None:
    from checks import workplace

    workplace.progress()


def look_at_token(asked: argparse.Namespace) -> None:
    from tools import lens

    sys.exit(lens.look(asked.source, asked.issuer, asked.resource))


def examine(_: argparse.Namespace) -> None:
    from tools import doctor

    sys.exit(doctor.examine())


# ── attacking ─────────────────────────────────────────────────────────────────────────────────────


def attack_step(asked: argparse.Namespace) -> None:
    from attacks import show

    number = catalogue.attackable(asked.step).number
    if asked.issuer or asked.resource:
        issuer, resource = asked.issuer or addresses.ISSUER, asked.resource or addresses.RESOURCE
        sys.exit(show.servers(number, issuer, resource, asked.ids))
    if asked.without == "all":
        sys.exit(show.without_each(number))
    sys.exit(show.without(number, asked.without) if asked.without else show.step(number, asked.ids))


def attack_all(_: argparse.Namespace) -> None:
    from attacks import show

    sys.exit(show.matrix())


# ── keeping the course in order ───────────────────────────────────────────────────────────────────


def carry_step(asked: argparse.Namespace) -> None:
    carry.carry(catalogue.step_named(asked.step), say=print, tested=not asked.untested)


def write_lessons(_: argparse.Namespace) -> None:
    for path in lessons.write_all():
        print(f"wrote {named(path)}")


def draw_diagrams(_: argparse.Namespace) -> None:
    from tools import diagrams

    for path in diagrams.write_all():
        print(f"wrote {named(path)}")


def fill_wheelhouse(asked: argparse.Namespace) -> None:
    from tools import wheelhouse

    sys.exit(wheelhouse.fill(asked.python, asked.platform))


def run_tests(asked: argparse.Namespace) -> None:
    sys.exit(subprocess.call([sys.executable, "-m", "pytest", *asked.for_pytest], cwd=environment.ROOT))


# ── words ─────────────────────────────────────────────────────────────────────────────────────────


def chosen(asked: argparse.Namespace) -> Step:
    step = catalogue.step_named(asked.step)
    if not asked.mine and not addresses.switched_on("MINE"):
        return step
    if not catalogue.mine(step).path.is_dir():
        raise console.Stop(f"There is no work/step-{step.number} yet: {command('start', step.number)} makes it.")
    return catalogue.mine(step)


def named(path: Path) -> str:
    inside = path.is_relative_to(environment.ROOT)
    return (path.relative_to(environment.ROOT) if inside else path).as_posix()


def command(verb: str, number: str) -> str:
    """The words to type, the way this person typed the last ones."""
    if "MAKELEVEL" in os.environ:
        return f"make {'step' if verb == 'run' else verb}-{number}"
    return f"python -m steps {verb} {number}"


MINE = (("--mine",), {"action": "store_true", "help": "the one in work/, which you build"})
AS = (("--as",), {"dest": "issuer", "metavar": "URL", "help": "the authorization server that runs: its issuer"})
MCP = (("--mcp",), {"dest": "resource", "metavar": "URL", "help": "the MCP server that runs: its resource"})
VERBS = {  # verb: what it does, the sentence about it, whether it needs a step, its options
    "list": (list_steps, "one line per step", False, ()),
    "run": (
        run_step,
        "start the servers of a step, walk its client through them, stop them",
        True,
        (MINE, (("--pause",), {"action": "store_true", "help": "stop before each exchange, like PAUSE=1"})),
    ),
    "serve": (serve_step, "only the servers, until Ctrl-C", True, (MINE,)),
    "expire": (order, "let all access tokens expire, on the servers that `serve` runs", False, ()),
    "rotate-keys": (order, "let the authorization server sign with a new key, the same way", False, ()),
    "revoke": (order, "take all refresh tokens back, the same way", False, ()),
    "restart-as": (order, "end the authorization server and start it again, the same way", False, ()),
    "diff": (
        diff_step,
        "what a step adds to the one before",
        True,
        (
            (("--stat",), {"action": "store_true", "help": "only count the lines"}),
            (("--html",), {"action": "store_true", "help": "side by side, as a page"}),
        ),
    ),
    "start": (start_step, "make work/step-NN, to build the step in yourself", True, ()),
    "check": (
        check_step,
        "grade your edit of a step: each of its promises, kept or not",
        True,
        (
            (("--hint",), {"type": int, "choices": (1, 2, 3), "default": 1, "help": "how much to tell; 3: the code"}),
            (("--only",), {"metavar": "PROMISE", "help": "only this one, like 05-3, or several: 05-3,05-4"}),
            AS,
            MCP,
        ),
    ),
    "reset": (reset_step, "start work/step-NN over; what was there is kept beside it", True, ()),
    "progress": (progress, "how far you are", False, ()),
    "token": (
        look_at_token,
        "what a token says, and which rule would refuse it",
        False,
        ((("source",), {"nargs": "?", "metavar": "FILE", "help": "a file that has it; - is the input"}), AS, MCP),
    ),
    "doctor": (examine, "whether this computer is ready, and what to do if not", False, ()),
    "attack": (
        attack_step,
        "attack a step, and say how far each attack gets",
        True,
        (
            (("ids",), {"nargs": "*", "metavar": "ATTACK", "help": "only these, like ATK-001 or 1"}),
            (("--without",), {"metavar": "RULE", "help": "take this rule out of its tuple first; `all`: each in turn"}),
            AS,
            MCP,
        ),
    ),
    "attacks": (attack_all, "attack all steps, and write the matrix", False, ()),
    "carry": (
        carry_step,
        "bring an uncommitted edit of a step into all later steps",
        True,
        ((("--untested",), {"action": "store_true", "help": "do not run each step's tests after its hop"}),),
    ),
    "lessons": (write_lessons, "write every LESSON.diff anew", False, ()),
    "diagrams": (draw_diagrams, "draw the sequence diagrams of the READMEs anew, from real runs", False, ()),
    "wheelhouse": (
        fill_wheelhouse,
        "prepare a folder to install from where there is no network",
        False,
        (
            (("--python",), {"nargs": "+", "metavar": "VERSION", "help": "for these versions of Python, like 3.12"}),
            (
                ("--platform",),
                {
                    "nargs": "+",
                    "metavar": "SYSTEM",
                    "help": "for these: linux, linux-arm, windows, windows-arm, mac, mac-intel",
                },
            ),
        ),
    ),
    "test": (run_tests, "run the tests; what follows goes to pytest", False, ()),
}


class Wider(argparse.HelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=30)


def arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m steps", description="Authorization for MCP servers, step by step.", formatter_class=Wider
    )
    parser.set_defaults(act=list_steps)
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", dest="verb")
    for verb, (act, text, about_a_step, options) in VERBS.items():
        sentence = text[0].upper() + text[1:] + "."
        one = verbs.add_parser(verb, help=text, description=sentence, add_help=act is not run_tests)
        one.set_defaults(act=act)
        if about_a_step:
            one.add_argument("step", help="the step's number, like 04")
        for names, about in options:
            one.add_argument(*names, **about)
    asked, asked.for_pytest = parser.parse_known_args(given)
    if asked.for_pytest and asked.act is not run_tests:
        parser.error(f"nobody knows what to do with: {' '.join(asked.for_pytest)}")
    return asked


def main(given: list[str]) -> None:
    asked = arguments(given)
    console.run(lambda: asked.act(asked))

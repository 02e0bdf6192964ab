"""Run attacks: one after another against one world, and see after each that nobody else was harmed."""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import httpx2

from attacks import everything  # noqa: F401 - fills the catalogue
from attacks.core import Attack, NotHere, Outcome, Verdict, in_order, otherwise
from attacks.loaded import Rule
from attacks.programs import Finished
from attacks.world import InProcess, Remote, World, listening_to_logs
from shared import console
from tools.catalogue import FINISHED

MATRIX = ("04", "05", "06", "07", "08", FINISHED.number)
AN_HOUR = 3600  # seconds


@dataclass
class Result:
    """How one attack ended, what it broke that it should not, and which rules said no on the way."""

    attack: Attack
    verdict: Verdict
    broken: list[str] = field(default_factory=list)
    said_no: set[str] = field(default_factory=set)


def against(world: World, attacks: Iterable[Attack] | None = None, harmless: bool = True) -> Iterator[Result]:
    """Run these attacks, or all of them. Between two of them the servers' clock goes on by an hour."""
    said_no = watched(world) if isinstance(world, InProcess) else set()
    with listening_to_logs() as logs:
        for attack in attacks or in_order():
            world.exchanges.clear()
            said_no.clear()
            result = Result(attack, verdict_of(attack, world), said_no=set())
            result.said_no = set(said_no)
            if isinstance(world, Remote):
                wait_for_limits(world)
            if harmless:
                result.broken = list(harm(world, logs))
            yield result
            if isinstance(world, InProcess):
                world.later(AN_HOUR)


def wait_for_limits(world: Remote) -> None:
    """Their clock is their own: whoever was told to wait must wait, before an honest client can be asked for."""
    told = [int(answer.headers.get("retry-after", 0)) for answer in world.exchanges if answer.status_code == 429]
    if told:
        console.wait("until the servers' limits allow the next request", max(told))


def verdict_of(attack: Attack, world: World) -> Verdict:
    console.out.quiet = True  # the steps' clients tell what they do
    try:
        return attack.run(world)
    except NotHere as why:
        return Verdict(Outcome.NOT_HERE, str(why))
    except AssertionError as error:
        return otherwise(f"could not begin: {str(error)[:100]}")
    except httpx2.HTTPStatusError as error:
        return otherwise(f"could not begin: {error.response.status_code} {error.response.text[:100]}")
    finally:
        console.out.quiet = False


def harm(world: World, logs: list[str]) -> Iterator[str]:
    """The invariant of the catalogue: nothing leaks, nothing breaks, and an honest flow still works."""
    for answer in world.exchanges:
        if answer.status_code >= 500 and "retry-after" not in answer.headers:
            yield f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}"
        if answer.status_code >= 400 and "text/html" not in answer.headers.get("content-type", ""):
            yield from (
                f"a secret in the answer of {answer.request.url.path}" for s in world.secrets if s in answer.text
            )
    yield from (f"a secret in the log: {row[:60]}" for row in logs if any(secret in row for secret in world.secrets))
    logs.clear()
    try:
        if not world.honest_flow_works():
            yield "an honest flow does not work any more"
    except (AssertionError, httpx2.HTTPStatusError) as error:
        yield f"an honest flow does not work any more: {str(error)[:100]}"


# ── which rules said no ───────────────────────────────────────────────────────────────────────────


def watched(world: InProcess) -> set[str]:
    """From now on, the names of all rules that refuse something. Without such a rule, an attack may get further."""
    said_no: set[str] = set()
    world.loaded.change_policies(lambda rules: tuple(noticed(rule, said_no) for rule in rules))
    return said_no


def noticed(rule: Rule, said_no: set[str]) -> Rule:
    @functools.wraps(rule)
    def watching(*given: object, **named: object) -> object:
        try:
            answer = rule(*given, **named)
        except Exception:
            said_no.add(rule.__name__)
            raise
        if hasattr(answer, "__await__"):
            return awaited(answer, rule, said_no)
        if answer is False or (isinstance(answer, str) and answer):  # or a sentence that says why not
            said_no.add(rule.__name__)
        return answer

    return watching


async def awaited(answer: object, rule: Rule, said_no: set[str]) -> object:
    try:
        found = await answer
    except Exception:
        said_no.add(rule.__name__)
        raise
    if found is False:
        said_no.add(rule.__name__)
    return found


# ── the three questions ───────────────────────────────────────────────────────────────────────────


def world_of(number: str, raise_server_exceptions: bool = False) -> InProcess:
    """A step, or the finished programs; loaded anew, so that their rules can be changed."""
    return (Finished if number == FINISHED.number else functools.partial(InProcess, number))(
        raise_server_exceptions=raise_server_exceptions
    )


def step(number: str, attacks: Iterable[Attack] | None = None, harmless: bool = True) -> list[Result]:
    """How far each attack gets at one step."""
    with world_of(number) as world:
        return list(against(world, attacks, harmless))


def rules_of(number: str) -> dict[str, str]:
    """The tuple that each rule stands in, by the rule's name."""
    with world_of(number) as world:
        return {rule: policy for rule, (policy, _) in world.loaded.rules().items()}


def without(number: str, rule: str, candidates: list[Attack] | None = None) -> list[Result]:
    """The attacks that are refused as specified as long as `rule` stands, and not without it."""
    if candidates is None:
        found = step(number, harmless=False)
        candidates = [result.attack for result in found if rule in result.said_no and was_stopped(result)]
    if not candidates:
        return []
    with world_of(number) as world:
        world.loaded.without(rule)
        return [result for result in against(world, candidates, harmless=False) if not was_stopped(result)]


def without_each(number: str, before: list[Result] | None = None) -> Iterator[tuple[str, list[Result]]]:
    """For every rule of a step, the attacks that need it. Only those in which it said no can need it."""
    before = before or step(number, harmless=False)
    for rule in rules_of(number):
        yield rule, without(number, rule, [r.attack for r in before if rule in r.said_no and was_stopped(r)])


def was_stopped(result: Result) -> bool:
    return result.verdict.outcome == Outcome.AS_SPECIFIED

"""A trace as the text of a Mermaid sequence diagram, for slides and for the READMEs."""

import re
from itertools import groupby

from tools.trace import telling
from tools.trace.telling import Row, Section

LESSON = "rect rgba(224, 160, 32, 0.16)"  # a tint: what is written on it can be read in light and in dark


def diagram(trace: dict, only_lesson: bool = False) -> str:
    """All of a trace, or with `only_lesson` what the step adds: then the same text in every run."""
    told = [section for section in telling.sections(trace) if section.say or section.lesson or not only_lesson]
    shown = [section for section in told if section.lesson or not only_lesson]
    lanes = lanes_of(trace, shown, only_lesson)
    if not lanes:
        return "sequenceDiagram\n"
    lines = [f"participant {lane['id']} as {escaped(lane['name'])}" for lane in lanes]
    everyone = ",".join(dict.fromkeys((lanes[0]["id"], lanes[-1]["id"])))
    for unfolded, group in groupby(told, key=lambda section: section.lesson or not only_lesson):
        some = list(group)
        if unfolded:
            lines += [line for section in some for line in lines_of(section, everyone, only_lesson)]
        else:
            lines.append(f"Note over {everyone}: {folded(some)}")
    if trace["outcome"] and not only_lesson:
        lines.append(f"Note over {everyone}: {escaped(trace['outcome'])}")
    return "\n    ".join(["sequenceDiagram", *lines]) + "\n"


def lanes_of(trace: dict, shown: list[Section], only_lesson: bool) -> list[dict]:
    exchanges = [row.exchange for section in shown for row in section.rows if row.exchange]
    present = {exchange[end] for exchange in exchanges for end in ("from", "to")}
    return [lane for lane in telling.parties(trace) if lane["id"] in present or not only_lesson]


def folded(some: list[Section]) -> str:
    """What the step does not add: at the beginning only how much of it, later what it is."""
    says = [section.say for section in some if section.say]
    if says[0]["number"] == 1:
        numbers = dict.fromkeys((says[0]["number"], says[-1]["number"]))
        return f"{'-'.join(map(str, numbers))} as in the step before"
    return "<br/>".join(f"{say['number']} {escaped(say['what'], scrub=True)}" for say in says)


def lines_of(section: Section, everyone: str, scrub: bool) -> list[str]:
    lines = [f"Note over {everyone}: {section.say['number']} {escaped(section.say['what'])}"] if section.say else []
    return lines + blocks([row for row in section.rows if row.exchange], scrub)


def blocks(rows: list[Row], scrub: bool) -> list[str]:
    """Arrows; what belongs to the lesson stands on a tint, together with what happens inside it."""
    lines: list[str] = []
    for lesson, group in groupby(marked(rows), key=lambda pair: pair[0]):
        inside = [line for _, row in group for line in arrows(row, scrub)]
        lines += [LESSON, *(f"    {line}" for line in inside), "end"] if lesson else inside
    return lines


def marked(rows: list[Row]) -> list[tuple[bool, Row]]:
    """Each row, and whether it or an exchange that is open around it belongs to the lesson."""
    pairs: list[tuple[bool, Row]] = []
    around: list[bool] = []
    for row in rows:
        if row.kind == "answer":
            around.pop()
        pairs.append((row.exchange["lesson"] or any(around), row))
        if row.kind == "request":
            around.append(row.exchange["lesson"])
    return pairs


def arrows(row: Row, scrub: bool) -> list[str]:
    exchange, lines = row.exchange, []
    asking, answering = exchange["from"], exchange["to"]
    ask, answer = telling.asked(exchange), telling.answered(exchange)
    if row.kind != "answer":
        words = f"{ask['method']} {ask['path']} {ask['about']}"
        lines.append(f"{asking}->>{answering}: {escaped(words, scrub)}")
    if row.kind != "request":
        head = "-->>" if answer["status"] else "--x"
        words = f"{answer['status'] or answer['reason']} {answer['fact'] or answer['reason']}"
        lines.append(f"{answering}{head}{asking}: {escaped(words, scrub)}")
    return lines


def escaped(text: str, scrub: bool = False) -> str:
    """One line in which no character means anything to Mermaid: it writes `#59;` for a semicolon."""
    line = " ".join(text.split())
    if scrub:
        line = re.sub(r"\b(127\.0\.0\.1|localhost|\[::1\]):\d+", r"\1", line)
        line = re.sub(r"[\w-]{16,}", lambda found: found[0] if looks_named(found[0]) else "…", line)
    return re.sub(r"[^\w /.,?!()=*'+@_…“”’§·-]", lambda found: f"#{ord(found[0])};", line)


def looks_named(word: str) -> bool:
    """People join small words with hyphens; identifiers that a server made up mix letters, capitals and digits."""
    return re.fullmatch(r"[A-Za-z]?[a-z]+([_-]([a-z]+|\d{1,4}))*", word) is not None

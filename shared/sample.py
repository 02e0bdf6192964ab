"""The sample domain, "market mood": what stands behind the door. Nothing here knows that there is a door."""

CHEERFUL = frozenset(
    "beat beats boom gain gains growth profit rally record rise rises soar soars surge surges up".split()
)
GLOOMY = frozenset(
    "bankruptcy crash cut cuts drop drops fall falls fear fraud layoffs loss losses miss misses slump".split()
)

CUSTOMERS = {
    "c-1": {"name": "Ada Brook", "portfolio": {"ACME": 60.0, "GLOBEX": 40.0}, "adviser": "alice"},
    "c-2": {"name": "Cem Dal", "portfolio": {"INITECH": 100.0}, "adviser": "bob"},
}


def mood(headline: str) -> float:
    """From -1 (gloomy) to 1 (cheerful); 0 when no word of the headline says anything."""
    words = [word.strip(".,:;!?'\"()").lower() for word in headline.split()]
    cheerful = sum(word in CHEERFUL for word in words)
    gloomy = sum(word in GLOOMY for word in words)
    return (cheerful - gloomy) / max(cheerful + gloomy, 1)


def evened_out(portfolio: dict[str, float]) -> dict[str, float]:
    """The same money, spread evenly."""
    return {name: round(sum(portfolio.values()) / len(portfolio), 2) for name in portfolio}

"""The one exception that is meant for people."""


class Stop(Exception):
    """We cannot go on. The message is a sentence for a person: the cause and the way out."""

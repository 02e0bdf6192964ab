"""The one kind of refusal. `refusals.refuse` is the one place where it becomes HTTP."""


class OAuthError(Exception):
    """An error a client is meant to read: `error` is for code, `why` for people. RFC 6749 §5.2.

    `status` is the HTTP status. `retry_after`, in seconds, becomes a header if it is not 0.
    """

    def __init__(self, error: str, why: str, status: int = 400, retry_after: int = 0):
        super().__init__(f"{error}: {why}")
        self.error, self.why, self.status, self.retry_after = error, why, status, retry_after


class Stopped(OAuthError):
    """A request that gets no further than `guard`."""

"""How often a client may do something: a bucket that refills steadily."""

import time


class RateLimit:
    """`burst` at once and `per_second` in the long run."""

    __slots__ = ("_burst", "_left", "_per_second", "_refilled_at")

    def __init__(self, *, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = self._left = burst
        self._refilled_at = time.monotonic()

    def take(self) -> bool:
        """Count one; False, and nothing is counted, if it is one too many."""
        now = time.monotonic()
        refill = (now - self._refilled_at) * self._per_second
        self._left = min(self._burst, self._left + refill)
        self._refilled_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

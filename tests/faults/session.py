"""A sign-in as the frontend's `tokens.ts` keeps it: short-lived tokens, renewed with rotation."""

import asyncio
import base64
import json
import random
import time
from typing import Any

import httpx

from tests.faults.ledger import Ledger

PASSING = frozenset({429, 500, 502, 503, 504})
MARGIN = 30.0  # seconds of life left, or a quarter of its life, below which a token is renewed
UNHEARD = 0.1  # of the renewals lose their answer
ALONE = 0.2  # of the renewals do not wait for another tab's: no locks outside secure contexts


class Unreachable(Exception):
    """No connection, or no answer: what was asked may have happened or not."""


class SignedOut(Exception):
    """The server refuses to renew: whoever this was must sign in again."""


class Session:
    """The tokens of one browser, for all its devices here. Raises SignedOut once refused."""

    def __init__(self, ledger: Ledger, source: random.Random) -> None:
        self.refused = False
        self._ledger = ledger
        self._source = source
        self._access = self._refresh = ""
        self._lifetime = self._expires = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def open(self, http: httpx.AsyncClient) -> dict[str, Any]:
        """Come as a guest, however often that must be tried; return who that is."""
        while True:
            try:
                answer = await http.post("/api/auth/guest/", json={})
            except (httpx.TransportError, OSError):
                answer = None
            if answer is not None and answer.status_code not in PASSING:
                assert answer.status_code == 201, answer.text
                self._accept(answer.json())
                return dict(answer.json()["user"])
            await asyncio.sleep(0.5)

    @property
    def held(self) -> str:
        """The access token, expired or not."""
        return self._access

    @property
    def left(self) -> float:
        """Seconds until the access token expires."""
        return self._expires - time.monotonic()

    async def access(self, http: httpx.AsyncClient) -> str:
        """Return an access token with time left. Raises SignedOut or Unreachable."""
        if self.refused:
            raise SignedOut
        return self._access if self._lasts else await self.renew(self._access, http)

    async def renew(self, stale: str, http: httpx.AsyncClient) -> str:
        """Return a newer token than `stale`, which was refused or is about to expire."""
        if self._source.random() < ALONE:
            return await self._renew(stale, http)
        async with self._one_at_a_time:
            return await self._renew(stale, http)

    async def spend_unheard(self, http: httpx.AsyncClient) -> None:
        """Spend the refresh token and lose the answer, as where the network goes at that moment."""
        async with self._one_at_a_time:
            await self._ask(self._refresh, http)
        self._ledger.counts["renewals unheard"] += 1

    @property
    def _lasts(self) -> bool:
        return self.left > min(MARGIN, self._lifetime / 4)

    async def _renew(self, stale: str, http: httpx.AsyncClient) -> str:
        if self.refused:
            raise SignedOut
        if self._access != stale and self._lasts:
            return self._access
        used = self._refresh
        answer = await self._ask(used, http)
        if answer.status_code != 200:
            if self._refresh != used:
                return self._access
            self.give_up(f"{answer.status_code} {answer.json().get('code')}")
            raise SignedOut
        if self._source.random() < UNHEARD:
            self._ledger.counts["renewals unheard"] += 1
            raise Unreachable
        if self._refresh == used:
            self._accept(answer.json())
            self._ledger.counts["tokens renewed"] += 1
        return self._access

    async def _ask(self, refresh: str, http: httpx.AsyncClient) -> httpx.Response:
        try:
            answer = await http.post("/api/auth/token/refresh/", json={"refresh": refresh})
        except (httpx.TransportError, OSError):
            self._ledger.counts["requests without an answer"] += 1
            raise Unreachable from None
        if answer.status_code in PASSING:
            self._ledger.counts[f"answers {answer.status_code}"] += 1
            raise Unreachable
        return answer

    def give_up(self, why: str) -> None:
        """Note that whoever this is would now be asked to sign in again."""
        self.refused = True
        self._ledger.counts["signed out"] += 1
        self._ledger.violate("lost", f"a session, signed out for good: {why}")

    def _accept(self, answer: dict[str, Any]) -> None:
        self._access, self._refresh = answer["access"], answer["refresh"]
        claims = json.loads(base64.urlsafe_b64decode(self._access.split(".")[1] + "=="))
        self._lifetime = float(claims["exp"] - claims["iat"])
        self._expires = time.monotonic() + self._lifetime

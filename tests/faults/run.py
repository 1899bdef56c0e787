"""One run of the suite: processes, people, faults, and the reckoning."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from chatire.stack.postgres import EmbeddedPostgres
from tests.acceptance.stack import Stack
from tests.fakes.openai_server import Record, RunningServer
from tests.fakes.redis_server import RedisServer
from tests.faults.ledger import Ledger
from tests.faults.plans import IDLE_SECONDS, directive_in, is_title
from tests.faults.reckoning import Reckoning, quiet
from tests.faults.room import LoudRoom, Person, Room, flap, sleep_now_and_then
from tests.faults.schedule import Schedule
from tests.faults.session import SignedOut
from tests.faults.usage import Watch

ACCESS_SECONDS = 20  # an access token's life; a client renews when half of it is over
SETTLE = 15.0  # seconds that talkers may take to end after their time


class Run:
    """One run of the suite. `life` is how many seconds a conversation lasts."""

    def __init__(
        self,
        *,
        minutes: float,
        seed: int,
        rooms: int,
        life: float,
        devices: int | None,
        logs: Path,
        postgres: EmbeddedPostgres,
        redis: RedisServer | None = None,
        only: Sequence[str] = (),
    ) -> None:
        self.minutes = minutes
        self.seed = seed
        self.rooms: list[Room] = []
        self.retired = 0
        self.ledger = Ledger(tell=partial(print, flush=True))
        self.reckoning = Reckoning(self.ledger)
        self.quiet_seconds = 0.0
        self.schedule: Schedule
        self.watch: Watch
        self._count = rooms
        self._life = life
        self._devices = devices
        self._logs = logs
        self._postgres = postgres
        self._redis = redis
        self._only = only
        self._stack: Stack
        self._model: RunningServer
        self._over = asyncio.Event()

    async def run(self, model: RunningServer) -> None:
        """Set up, break things, reckon."""
        task = asyncio.current_task()
        assert task is not None
        # Ended from outside, it ends its processes too.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        self._model = model
        self._stack = stack = Stack(
            database_url=self._postgres.url,
            model_url=model.base_url,
            logs=self._logs,
            workers=2,
            REPLY_TIMEOUT_IDLE=str(IDLE_SECONDS),
            WORKER_DRAIN_SECONDS="2",
            WS_DRAIN_SECONDS="1",
            ACCESS_TOKEN_SECONDS=str(ACCESS_SECONDS),
            **({"CHANNEL_LAYER_URL": self._redis.url} if self._redis is not None else {}),
        )
        self.watch = Watch(stack)
        await asyncio.to_thread(prepare, stack)
        try:
            await asyncio.to_thread(stack.start)
            self.rooms += [await self._room(number, 0) for number in range(self._count)]
            for device in [device for room in self.rooms for device in room.devices]:
                assert await device.until_settled(60), device.name
            await self._break()
            self.quiet_seconds = await quiet(self.rooms, self.ledger, self._postgres.url)
            await asyncio.to_thread(self.watch.sample)
            for room in self.rooms:
                await self._reckon(room)
        finally:
            await asyncio.to_thread(stack.__exit__, None, None, None)

    async def _room(self, number: int, generation: int) -> Room:
        """Open a conversation in place `number`, with people who have just come."""
        name = f"{self.seed} room {number}" + (f" {generation}" if generation else "")
        source = random.Random(name)
        group = number % 5 == 0
        talkers = 3 if group else 1
        people = [
            await Person.arrive(self._stack, self.ledger, random.Random(f"{name} person {each}"))
            for each in range(talkers + (group and number > 0))
        ]
        room = (Room if number else LoudRoom)(number, people[:talkers], self.ledger, source)
        room.sleeper = people[talkers] if len(people) > talkers else None
        await room.open(self._stack, self._devices)
        return room

    async def _break(self) -> None:
        source = random.Random(f"{self.seed} schedule")
        self.schedule = Schedule(
            self._stack,
            self._postgres,
            self.rooms,
            self.ledger,
            source,
            redis=self._redis,
            only=self._only,
        )
        until = time.monotonic() + self.minutes * 60
        places = [asyncio.create_task(self._place(room)) for room in list(self.rooms)]
        keeping = [
            asyncio.create_task(self._forget_prompts()),
            asyncio.create_task(self.watch.run()),
        ]
        try:
            await self.schedule.run(until)
            self._over.set()
            async with asyncio.timeout(240):
                await asyncio.gather(*places)
        finally:
            for task in (*places, *keeping):
                task.cancel()
            await asyncio.gather(*places, *keeping, return_exceptions=True)

    async def _place(self, room: Room) -> None:
        """Let people talk in one conversation after another, until the run is over.

        Each is reckoned up and forgotten after its time, so a long run takes no more memory.
        """
        place = random.Random(f"{self.seed} place {room.number}")
        # Not all at once.
        life = self._life * place.uniform(0.5, 1.0)
        generation = 0
        while True:
            await self._talk(room, life if room.number else life * 0.4)
            if self._over.is_set():
                return
            await quiet([room], self.ledger, self._postgres.url, one=room.id)
            await self._reckon(room)
            if self._over.is_set():
                self.rooms.remove(room)
                return
            generation += 1
            self.retired += 1
            fresh = await self._room(room.number, generation)
            self.rooms[self.rooms.index(room)] = room = fresh
            life = self._life

    async def _talk(self, room: Room, seconds: float) -> None:
        """Talk for a time, while phones sleep and connections flap."""
        source = random.Random(f"{self.seed} {room.id}")
        others = []
        if room.number % 5 == 3:
            others.append(flap(room, room.devices[-1], self.ledger, source))
        if room.sleeper is not None:
            others.append(sleep_now_and_then(room, room.devices[-1], self.ledger, source))
        around = [asyncio.create_task(one) for one in others]
        time_up = asyncio.Event()
        talking = asyncio.create_task(room.talk(time_up))
        try:
            over = asyncio.create_task(self._over.wait())
            await asyncio.wait(
                {over, talking}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            over.cancel()
            time_up.set()
            await asyncio.wait({talking}, timeout=SETTLE)
        finally:
            for task in around:
                task.cancel()
            await asyncio.gather(*around, return_exceptions=True)
        # Noted already; whoever else is there goes on.
        with contextlib.suppress(SignedOut):
            async with asyncio.timeout(120):
                await talking

    async def _reckon(self, room: Room) -> None:
        """Reckon a conversation up, let its people go, and forget it."""
        ids = await self.reckoning.room(room, self._model.records)
        for device in room.devices:
            device.away = True
            await device.stop()
        directives = {directive_in(sent.content) for sent in self.ledger.sent[room.id].values()}
        for person in room.everyone:
            await person.leave()
        self.ledger.forget(room.id, ids)

        def unwanted(record: Record) -> bool:
            last = record.directives[-1:]
            return not last or last[0] in directives

        self._model.forget(unwanted)

    async def _forget_prompts(self) -> None:
        """Keep nothing of what each request carried but its directives: that fills the memory."""
        while True:
            await asyncio.sleep(5)
            self._model.forget(lambda record: record.status != 200 or is_title(record))
            for record in self._model.records:
                if record.end:
                    record.body.pop("messages", None)


def prepare(stack: Stack) -> None:
    """Make the schema and an assistant."""
    stack.release()

"""A conversation with its people, their devices, and what they do in it without a pause."""

import asyncio
import itertools
import random
from typing import Any
from uuid import UUID

import httpx

from tests.acceptance.stack import Stack
from tests.faults.device import Device, Refused, Unreachable
from tests.faults.ledger import Ledger, Sent
from tests.faults.plans import draw, plan_of

REPLY_PATIENCE = 60.0  # seconds after which a talker goes on; the reckoning looks at the reply
PASSING = frozenset({429, 500, 502, 503, 504})
_numbers = itertools.count(1)


class Person:
    """Somebody with a token, over REST; a request is repeated until it is answered."""

    def __init__(self, stack: Stack, ledger: Ledger, signed_in: dict[str, Any]) -> None:
        self.id: str = signed_in["user"]["id"]
        self.token: str = signed_in["access"]
        self._ledger = ledger
        self.http = httpx.AsyncClient(
            base_url=stack.url, timeout=10, headers={"Authorization": f"Bearer {self.token}"}
        )

    @classmethod
    async def arrive(cls, stack: Stack, ledger: Ledger) -> "Person":
        """Come as a guest."""
        async with httpx.AsyncClient(base_url=stack.url, timeout=60) as client:
            answer = await client.post("/api/auth/guest/", json={})
        assert answer.status_code == 201, answer.text
        return cls(stack, ledger, answer.json())

    async def ask(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """Send a request until it is answered. Raises Refused for an answer that will not pass."""
        pause = 0.2
        while True:
            try:
                return await self.try_once(method, path, **body)
            except Unreachable:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 1.5)

    async def try_once(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """Send a request. Raises Unreachable or Refused."""
        try:
            answer = await self.http.request(method, path, json=body or None)
        except (httpx.TransportError, OSError):
            self._ledger.counts["requests without an answer"] += 1
            raise Unreachable from None
        if answer.status_code in PASSING:
            self._ledger.counts[f"answers {answer.status_code}"] += 1
            if answer.status_code == 503 and "retry-after" not in answer.headers:
                self._ledger.violate("wrong", "a 503 without Retry-After")
            if answer.status_code == 500:
                self._ledger.violate("wrong", f"500 to {method} {path}")
            raise Unreachable
        if answer.status_code >= 400:
            raise Refused(f"{answer.status_code} {answer.json()['code']}")
        return dict(answer.json()) if answer.content else {}


class Room:
    """One conversation. Half of a room's sends go by REST, half by socket, some by both."""

    def __init__(
        self, number: int, people: list[Person], ledger: Ledger, source: random.Random
    ) -> None:
        self.number = number
        self.people = people
        self.id = ""
        self.devices: list[Device] = []
        self._ledger = ledger
        self._source = source

    @property
    def is_group(self) -> bool:
        """Whether several people are in it, and the assistant answers when it is named."""
        return len(self.people) > 1

    async def open(self, stack: Stack) -> None:
        """Make the conversation and connect everyone's devices: two each, or one each of many."""
        body: dict[str, Any] = {}
        if self.is_group:
            others = [person.id for person in self.people[1:]]
            body = {"kind": "group", "assistant": "assistant", "members": others, "title": "Group"}
        answer = await self.people[0].ask("POST", "/api/conversations/", **body)
        self.id = answer["id"]
        for person, which in itertools.product(self.people, range(1 if self.is_group else 2)):
            self.connect(stack, person, f"room {self.number} device {which} of {person.id[-4:]}")

    def connect(self, stack: Stack, person: Person, name: str, **options: Any) -> Device:
        """Add a device."""
        device = Device(
            name,
            url=stack.ws_url,
            token=person.token,
            conversation=self.id,
            ledger=self._ledger,
            source=random.Random(self._source.random()),
            **options,
        )
        self.devices.append(device)
        device.start()
        return device

    async def talk(self, over: asyncio.Event) -> None:
        """Say, wait, stop, ask again, from one device or another, until the time is up."""
        source = self._source
        while not over.is_set():
            speaker = source.randrange(len(self.people))
            person, device = self.people[speaker], self._device_of(speaker)
            tokens = source.randint(40, 260)
            content = draw(source, tokens=tokens, number=next(_numbers))
            sent = self._new(content, wants_reply=True)
            reply = await self.send(sent, person, device, both=source.random() < 0.25)
            if reply is None:
                return
            if source.random() < 0.12:
                await self._stop_at_some_point(reply, tokens)
            await device.until_ended(reply, REPLY_PATIENCE)
            if source.random() < 0.12:
                again = await self._regenerate(reply)
                if again is not None:
                    await device.until_ended(again, REPLY_PATIENCE)
            if self.is_group and device.open:
                await self._mark_read(device)
            await asyncio.sleep(source.uniform(0.05, 0.8))

    def _new(self, content: str, *, wants_reply: bool) -> Sent:
        client_id = UUID(int=self._source.getrandbits(128)).hex
        sent = self._ledger.sent[client_id] = Sent(self.id, client_id, content, wants_reply)
        return sent

    def _device_of(self, person: int) -> Device:
        each = 1 if self.is_group else 2
        return self.devices[person * each + self._source.randrange(each)]

    async def send(
        self, sent: Sent, person: Person, device: Device, *, both: bool = False
    ) -> str | None:
        """Send until acknowledged; by both ways at once, and once again later, if `both`."""
        body: dict[str, Any] = {"client_id": sent.client_id, "content": sent.content}
        if self.is_group and sent.wants_reply:
            body["assistant"] = "assistant"
        ways = ["socket", "rest"] if both else [self._source.choice(["socket", "rest"])]
        if both:
            self._ledger.counts["sends doubled"] += 1
        try:
            answers = await asyncio.gather(
                *(self._send_by(way, sent, person, device, body) for way in ways)
            )
            if both:
                answers.append(await self._send_by("rest", sent, person, device, body))
        except Refused as error:
            self._ledger.violate("lost", f"{sent.client_id} was refused: {error.code}")
            return None
        replies = {answer["reply"]["id"] for answer in answers if answer["reply"]}
        # A regenerated sibling may be newer; a send is always answered with the first reply.
        if len(replies) > 1:
            self._ledger.violate("doubled", f"{sent.client_id} started {len(replies)} replies")
        return next(iter(replies), None)

    async def _send_by(
        self, way: str, sent: Sent, person: Person, device: Device, body: dict[str, Any]
    ) -> dict[str, Any]:
        path = f"/api/conversations/{self.id}/messages/"
        while True:
            sent.tries += 1
            if sent.tries > 1:
                self._ledger.counts["sends repeated"] += 1
            try:
                if way == "socket" and device.open:
                    answer = await device.command("message.send", conversation=self.id, **body)
                else:
                    answer = await person.try_once("POST", path, **body)
            except Unreachable:
                await asyncio.sleep(self._source.uniform(0.2, 1.0))
                continue
            except Refused as error:
                if not error.passing:
                    raise
                await asyncio.sleep(1.0)
                continue
            self._ledger.acknowledged(sent, answer)
            return answer

    async def _stop_at_some_point(self, reply: str, tokens: int) -> None:
        """Stop a reply from any device, by any way, until that is acknowledged."""
        device, other = self._device_of(0), self._device_of(-1 % len(self.people))
        length = self._source.randint(0, tokens * 5)
        await device.until(
            lambda: (
                device.ended(reply)
                or (reply in device.known.messages and len(device.known.text(reply)) >= length)
            ),
            REPLY_PATIENCE,
        )
        self._ledger.stopped.add(reply)
        self._ledger.counts["stops"] += 1
        while True:
            try:
                if other.open and self._source.random() < 0.5:
                    await other.command("reply.stop", message=reply)
                else:
                    await self.people[-1].ask("POST", f"/api/messages/{reply}/stop/")
            except Unreachable:
                await asyncio.sleep(0.3)
            except Refused as error:
                if not error.passing:
                    raise
                await asyncio.sleep(1.0)
            else:
                return

    async def _regenerate(self, reply: str) -> str | None:
        """Click twice, on two devices. Not repeated: a click without an answer is looked up."""
        path = f"/api/messages/{reply}/regenerate/"
        self._ledger.counts["regenerates"] += 1
        clicks = await asyncio.gather(
            self.people[0].try_once("POST", path),
            self._device_of(-1 % len(self.people)).command("reply.regenerate", message=reply),
            return_exceptions=True,
        )
        for click in clicks:
            if isinstance(click, dict):
                return str(click["message"]["id"])
            if isinstance(click, Refused) and click.passing:
                continue
            if not isinstance(click, Unreachable):
                raise click
        return None

    async def _mark_read(self, device: Device) -> None:
        try:
            await device.command("read", conversation=self.id, seq=device.known.seq)
        except (Unreachable, Refused):
            self._ledger.counts["read marks lost"] += 1

    def model_faults(self, ledger: Ledger) -> list[str]:
        """The faults of the model that were asked for here."""
        asked = (one for one in ledger.sent.values() if one.conversation == self.id)
        plans = (plan_of(one.content) for one in asked if one.wants_reply)
        return [fault for plan in plans for fault in plan.fault.split(",") if fault]

    def watched(self, device: Device) -> list[str]:
        """The replies that this device sees grow now, and that no pause of the model holds up."""
        return [
            key
            for key, row in device.known.messages.items()
            if row["status"] == "streaming"
            and row["parent"] in device.known.messages
            and plan_of(device.known.messages[row["parent"]]["content"]).plain
        ]


class LoudRoom(Room):
    """A group where someone says much, and one device stops reading again and again."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.deaf: Device

    @property
    def is_group(self) -> bool:
        """No assistant is asked here."""
        return True

    async def open(self, stack: Stack) -> None:
        """Add the device that does not read."""
        await super().open(stack)
        self.deaf = self.connect(stack, self.people[0], "the deaf device", small_buffers=True)
        self.deaf.away = True

    async def talk(self, over: asyncio.Event) -> None:
        """Say much to a device that is deaf, then have the assistant speak to it too."""
        source = self._source
        while not over.is_set():
            self._ledger.counts["clients stop reading"] += 1
            self.deaf.read(on=False)
            # What outgrows the server's patience is cut off; less only makes it merge deltas.
            for _ in range(source.choice([5, 30])):
                if not over.is_set():
                    await asyncio.gather(*(self._be_loud() for _ in range(8)))
            sent = self._new(draw(source, tokens=200, number=next(_numbers)), wants_reply=True)
            reply = await self.send(sent, self.people[0], self.devices[0])
            if reply is not None:
                await self.devices[0].until_ended(reply, REPLY_PATIENCE)
            self.deaf.read(on=True)
            await asyncio.sleep(source.uniform(2, 8))

    async def _be_loud(self) -> None:
        content = f"{next(_numbers)} " + "loud " * self._source.randint(4000, 6000)
        sent = self._new(content, wants_reply=False)
        await self.send(sent, self.people[0], self.devices[0])


async def flap(room: Room, device: Device, ledger: Ledger, source: random.Random) -> None:
    """Cut a device's connection every two seconds or so; now and then it forgets everything."""
    device.away = True
    try:
        while True:
            await asyncio.sleep(source.uniform(1.0, 3.0))
            ledger.counts["client flaps"] += 1
            if source.random() < 0.2:
                device.forget()
            else:
                device.drop()
    finally:
        device.away = False

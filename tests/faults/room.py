"""A conversation with its people, their devices, and what they do in it without a pause."""

import asyncio
import itertools
import random
from typing import Any
from uuid import UUID

import httpx

from tests.acceptance.stack import Stack
from tests.faults.device import Device, Refused
from tests.faults.known import FINAL, Frame
from tests.faults.ledger import Ledger, Sent
from tests.faults.plans import LONGEST, can_go_on, draw, plan_of, reword
from tests.faults.session import PASSING, Session, SignedOut, Unreachable

REPLY_PATIENCE = 60.0  # seconds after which a talker goes on; the reckoning looks at the reply
ASLEEP = 32.0  # seconds; longer than accounts.services.REFRESH_GRACE
MOST_RUNS = 3  # of one reply
WRONG_CLOCKS = 0.2  # of the devices
_numbers = itertools.count(1)


class Person:
    """Somebody signed in, over REST; a request is repeated until it is answered."""

    def __init__(self, url: str, ledger: Ledger, source: random.Random) -> None:
        self.id = ""
        self.session = Session(ledger, source)
        self._ledger = ledger
        self.http = httpx.AsyncClient(base_url=url, timeout=10)

    @classmethod
    async def arrive(cls, stack: Stack, ledger: Ledger, source: random.Random) -> "Person":
        """Come as a guest."""
        person = cls(stack.url, ledger, source)
        person.id = (await person.session.open(person.http))["id"]
        return person

    async def leave(self) -> None:
        """Close the connections."""
        await self.http.aclose()

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
        """Send a request, again with a newer token if that is what it lacks.

        Raises Unreachable, Refused or SignedOut.
        """
        token = await self.session.access(self.http)
        answer = await self._request(token, method, path, body)
        if answer.status_code == 401:
            self._ledger.counts["answers 401"] += 1
            token = await self.session.renew(token, self.http)
            answer = await self._request(token, method, path, body)
        if answer.status_code == 401:
            self.session.give_up(f"{method} {path} with a new token: {answer.json()['code']}")
            raise SignedOut
        if answer.status_code >= 400:
            raise Refused(answer.json()["code"])
        return dict(answer.json()) if answer.content else {}

    async def _request(
        self, token: str, method: str, path: str, body: dict[str, Any]
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        try:
            answer = await self.http.request(method, path, json=body or None, headers=headers)
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
        return answer


class Room:
    """One conversation. Half of a room's sends go by REST, half by socket, some by both."""

    def __init__(
        self, number: int, people: list[Person], ledger: Ledger, source: random.Random
    ) -> None:
        self.number = number
        self.people = people  # who talk
        self.sleeper: Person | None = None  # whose phone sleeps much, and who says nothing
        self.id = ""
        self.devices: list[Device] = []
        self.owners: dict[str, Person] = {}  # by the device's name
        self._ledger = ledger
        self._source = source

    @property
    def is_group(self) -> bool:
        """Whether several people are in it, and the assistant answers when it is named."""
        return len(self.people) > 1

    @property
    def everyone(self) -> list[Person]:
        """Who is in it, the talkers first."""
        return self.people if self.sleeper is None else [*self.people, self.sleeper]

    async def open(self, stack: Stack, devices: int | None = None) -> None:
        """Make the conversation and connect everyone's devices: two each, or one each of many."""
        body: dict[str, Any] = {}
        if self.is_group:
            others = [person.id for person in self.everyone[1:]]
            body = {"kind": "group", "assistant": "assistant", "members": others, "title": "Group"}
        answer = await self.people[0].ask("POST", "/api/conversations/", **body)
        self.id = answer["id"]
        for person, which in itertools.product(
            self.everyone, range(devices or (1 if self.is_group else 2))
        ):
            self.connect(
                stack,
                person,
                f"room {self.number} device {which} of {person.id[-4:]}",
                wrong_clock=self._source.random() < WRONG_CLOCKS,
            )

    def connect(self, stack: Stack, person: Person, name: str, **options: Any) -> Device:
        """Add a device."""
        device = Device(
            name,
            url=stack.ws_url,
            session=person.session,
            http=person.http,
            conversation=self.id,
            me=person.id,
            ledger=self._ledger,
            source=random.Random(self._source.random()),
            **options,
        )
        self.devices.append(device)
        self.owners[name] = person
        device.start()
        return device

    async def talk(self, over: asyncio.Event) -> None:
        """Say, wait, stop, reword, let go on, ask again, from one device or another, until over."""
        source = self._source
        while not over.is_set():
            speaker = source.randrange(len(self.people))
            person, device = self.people[speaker], self._device_of(speaker)
            tokens = source.randint(40, LONGEST)
            sent = self._new(
                draw(source, tokens=tokens, number=next(_numbers)),
                wants_reply=True,
                parent=self._branch() if source.random() < 0.15 else None,
            )
            reply = await self.send(sent, person, device, both=source.random() < 0.25)
            if reply is None:
                return
            if source.random() < 0.12:
                await self._stop_at_some_point(reply, tokens)
            elif source.random() < 0.08:
                await self._some_progress(reply, tokens)
                reply = await self._reword(sent, speaker, under_way=reply) or reply
            await device.until_ended(reply, REPLY_PATIENCE)
            if source.random() < 0.12:
                again = await self._regenerate(reply)
                if again is not None:
                    await device.until_ended(again, REPLY_PATIENCE)
            while source.random() < 0.6 and await self._go_on(reply, device):
                pass
            if source.random() < 0.1:
                await self._reword_an_earlier_one()
            if self.is_group and source.random() < 0.15:
                await self._say_and_delete(speaker)
            if self.is_group and device.open:
                await self._mark_read(device)
            if self.is_group and device.open and source.random() < 0.5:
                await self._react(device)
            await asyncio.sleep(source.uniform(0.05, 0.8))

    def _new(
        self,
        content: str,
        *,
        wants_reply: bool,
        parent: str | None = None,
        instead_of: str | None = None,
    ) -> Sent:
        client_id = UUID(int=self._source.getrandbits(128)).hex
        sent = Sent(self.id, client_id, content, wants_reply, parent, instead_of)
        self._ledger.sent[self.id][client_id] = sent
        self._ledger.counts["messages sent"] += 1
        if wants_reply:
            for fault in filter(None, plan_of(content).fault.split(",")):
                self._ledger.counts[f"model: {fault}"] += 1
        return sent

    def _device_of(self, person: int) -> Device:
        owner = self.people[person]
        own = [one for one in self.devices if self.owners[one.name] is owner]
        return self._source.choice(own)

    def _row(self, message_id: str) -> Frame | None:
        """A message as the best informed device knows it."""
        rows = [device.known.messages.get(message_id) for device in self.devices]
        return max(filter(None, rows), key=lambda row: int(row["seq"]), default=None)

    def _branch(self) -> str | None:
        """A reply that is not the newest, to say something under, or in a group to quote."""
        known = self.devices[0].known.messages.values()
        replies = [row["id"] for row in known if row["role"] == "assistant"]
        return self._source.choice(replies) if replies else None

    async def send(
        self, sent: Sent, person: Person, device: Device, *, both: bool = False
    ) -> str | None:
        """Send until acknowledged; by both ways at once, and once again later, if `both`."""
        body: dict[str, Any] = {"client_id": sent.client_id, "content": sent.content}
        if self.is_group and sent.wants_reply:
            body["assistant"] = "assistant"
        if sent.parent is not None:
            body["parent"] = sent.parent
        where = f"/api/conversations/{self.id}/messages/"
        body["conversation"] = self.id
        return await self._deliver(
            sent, person, device, both, ("message.send", "POST", where), body
        )

    async def _deliver(
        self,
        sent: Sent,
        person: Person,
        device: Device,
        both: bool,
        how: tuple[str, str, str],
        body: dict[str, Any],
    ) -> str | None:
        """Say it by one way or by both at once, as often as it takes; return its reply."""
        ways = ["socket", "rest"] if both else [self._source.choice(["socket", "rest"])]
        if both:
            self._ledger.counts["sends doubled"] += 1
        try:
            answers = await asyncio.gather(
                *(self._deliver_by(way, sent, person, device, how, body) for way in ways)
            )
            if both:
                answers.append(await self._deliver_by("rest", sent, person, device, how, body))
        except Refused as error:
            self._ledger.violate("lost", f"{sent.client_id} was refused: {error.code}")
            return None
        replies = {answer["reply"]["id"] for answer in answers if answer["reply"]}
        # A regenerated sibling may be newer; a send is always answered with the first reply.
        if len(replies) > 1:
            self._ledger.violate("doubled", f"{sent.client_id} started {len(replies)} replies")
        return next(iter(replies), None)

    async def _deliver_by(
        self,
        way: str,
        sent: Sent,
        person: Person,
        device: Device,
        how: tuple[str, str, str],
        body: dict[str, Any],
    ) -> dict[str, Any]:
        command, method, path = how
        over_rest = {
            name: value for name, value in body.items() if name not in {"conversation", "message"}
        }
        while True:
            sent.tries += 1
            if sent.tries > 1:
                self._ledger.counts["sends repeated"] += 1
            try:
                if way == "socket" and device.open:
                    answer = await device.command(command, **body)
                else:
                    answer = await person.try_once(method, path, **over_rest)
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

    async def _reword(
        self, sent: Sent, speaker: int, *, under_way: str | None = None
    ) -> str | None:
        """Edit a message of one's own, from any of one's devices: a branch, in a group in place.

        Replies to the old wording that are under way are stopped with it. Returns the new reply.
        """
        assert sent.message is not None
        person, device = self.people[speaker], self._device_of(speaker)
        self._ledger.counts["edits"] += 1
        if self.is_group:
            sent.content = reword(sent.content, next(_numbers))
            sent.edited = True
            new = sent
        else:
            known = {id_ for device in self.devices for id_ in device.known.messages}
            for row in filter(None, map(self._row, known)):
                if row["parent"] == sent.message and row["status"] not in FINAL:
                    self._ledger.stops[row["id"]] += row["id"] != under_way
            if under_way is not None:
                self._ledger.stops[under_way] += 1
            content = draw(
                self._source, tokens=self._source.randint(40, LONGEST), number=next(_numbers)
            )
            new = self._new(content, wants_reply=True, instead_of=sent.message)
        body = {"message": sent.message, "client_id": new.client_id, "content": new.content}
        how = ("message.edit", "PATCH", f"/api/messages/{sent.message}/")
        return await self._deliver(new, person, device, self._source.random() < 0.4, how, body)

    async def _say_and_delete(self, speaker: int) -> None:
        """Say something to nobody in particular, and take it back, by one way or another."""
        person, device = self.people[speaker], self._device_of(speaker)
        sent = self._new(f"Never mind {next(_numbers)}", wants_reply=False)
        await self.send(sent, person, device)
        if sent.message is None:
            return
        self._ledger.counts["deletions"] += 1
        # From here on nobody knows whether it is deleted, until somebody is told that it is.
        sent.deleted = True
        while True:
            try:
                if device.open and self._source.random() < 0.5:
                    answer = await device.command("message.delete", message=sent.message)
                else:
                    answer = await person.try_once("DELETE", f"/api/messages/{sent.message}/")
            except Unreachable:
                await asyncio.sleep(self._source.uniform(0.2, 1.0))
                continue
            except Refused as error:
                if not error.passing:
                    self._ledger.violate("wrong", f"{sent.message} is not deleted: {error.code}")
                    return
                await asyncio.sleep(1.0)
                continue
            gone = answer["message"]["deleted_at"] is not None
            self._ledger.check(gone, "wrong", f"{sent.message} is told to be deleted")
            return

    async def _reword_an_earlier_one(self) -> None:
        own = [
            one
            for one in self._ledger.sent[self.id].values()
            if one.wants_reply and one.message is not None
        ]
        sent = self._source.choice(own[-12:])
        row = self._row(sent.message or "")
        if row is None:
            return
        speaker = [person.id for person in self.people].index(row["author"]["id"])
        reply = await self._reword(sent, speaker)
        if reply is not None:
            await self.devices[0].until_ended(reply, REPLY_PATIENCE)

    async def _go_on(self, reply: str, device: Device) -> bool:
        """Let a reply that ended early go on, by a click or two; say whether it did."""
        before = self._row(reply)
        if before is None or not can_go_on(before):
            return False
        if len(self._ledger.ends_of(reply)) >= MOST_RUNS:
            return False
        self._ledger.counts["continues"] += 1
        clicks = [self.people[0].try_once("POST", f"/api/messages/{reply}/continue/")]
        if self._source.random() < 0.6:
            self._ledger.counts["continues doubled"] += 1
            other = self._device_of(-1 % len(self.people))
            clicks.append(other.command("reply.continue", message=reply))
        calm = self._ledger.calm
        answers = await asyncio.gather(*clicks, return_exceptions=True)
        heard = self._heard(before, answers, calm=calm and self._ledger.calm)
        if heard is None:
            # Another click, which nobody saw answered, may have had the reply completed.
            now = await self.people[0].ask("GET", f"/api/messages/{reply}/")
            stale = now["attempt"] > before["attempt"]
            self._ledger.check(stale, "lost", f"reply {reply} is refused to go on")
            return False
        if heard == 0:
            # Not repeated: a click without an answer is looked up.
            later = before["attempt"] + 1
            await device.until(lambda: device.settled and device.ended(reply, attempt=later), 5)
            return True
        if self._source.random() < 0.15:
            said = len(before["content"])
            await self._stop_at_some_point(reply, LONGEST, since=said, attempt=heard)
        await device.until_ended(reply, REPLY_PATIENCE, attempt=heard)
        return True

    def _heard(self, before: Frame, answers: list[Any], *, calm: bool) -> int | None:
        """Check the answers to one click or two: one run, that begins with what was said.

        Return the attempt they tell of, 0 if there was no answer, None if all were refused.
        """
        what = f"reply {before['id']}, to go on"
        rows, waiting, refused = [], set(), 0
        for answer in answers:
            if isinstance(answer, dict):
                rows.append(answer["message"])
            elif isinstance(answer, Refused) and not answer.passing:
                # The other click's run may have come to its end already.
                self._ledger.check(answer.code == "conflict", "lost", f"{what}: {answer.code}")
                refused += 1
            elif not isinstance(answer, (Unreachable, Refused)):
                raise answer
        for row in rows:
            self._ledger.check(row["attempt"] > before["attempt"], "lost", f"{what}: it did not")
            kept = row["content"].startswith(before["content"])
            self._ledger.check(kept, "truncated", f"{what}: without what it had said before")
            if row["status"] == "pending":
                waiting.add((row["attempt"], row["content"]))
        if calm:
            self._ledger.check(len(waiting) < 2, "doubled", f"{what}: two runs of two clicks")
        if refused == len(answers):
            return None
        return max((row["attempt"] for row in rows), default=0)

    async def _some_progress(
        self, reply: str, tokens: int, *, since: int = 0, attempt: int = 0
    ) -> None:
        """Wait until a device shows some of a reply's text."""
        device = self._device_of(0)
        length = since + self._source.randint(0, tokens * 5)
        await device.until(
            lambda: (
                device.ended(reply, attempt=attempt)
                or (reply in device.known.messages and len(device.known.text(reply)) >= length)
            ),
            REPLY_PATIENCE,
        )

    async def _stop_at_some_point(
        self, reply: str, tokens: int, *, since: int = 0, attempt: int = 0
    ) -> None:
        """Stop a reply from any device, by any way, until that is acknowledged."""
        other = self._device_of(-1 % len(self.people))
        await self._some_progress(reply, tokens, since=since, attempt=attempt)
        self._ledger.stops[reply] += 1
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
        numbers = [row["number"] or 0 for row in device.known.messages.values()]
        try:
            await device.command("read", conversation=self.id, number=max(numbers, default=0))
        except (Unreachable, Refused):
            self._ledger.counts["read marks lost"] += 1

    async def _react(self, device: Device) -> None:
        """Give some emoji to messages, or take them back; whether it was heard is not known."""
        shown = [row["id"] for row in device.known.messages.values() if not row["deleted_at"]]
        for _ in range(self._source.randint(1, 6)):
            if not shown:
                return
            wish = {"emoji": self._source.choice("👍🎉🙂"), "on": self._source.random() < 0.7}
            try:
                await device.command("message.react", message=self._source.choice(shown), **wish)
                self._ledger.counts["reactions"] += 1
            except (Unreachable, Refused):
                self._ledger.counts["reactions lost"] += 1

    def watched(self, device: Device) -> list[str]:
        """The replies that this device sees grow now, and that no pause of the model holds up."""
        return [
            key
            for key, row in device.known.messages.items()
            if row["status"] == "streaming"
            and row["parent"] in device.known.messages
            and plan_of(device.known.messages[row["parent"]]["content"], row["content"]).plain
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

    async def open(self, stack: Stack, devices: int | None = None) -> None:
        """Add the device that does not read."""
        await super().open(stack, devices)
        name = f"room {self.number} deaf device"
        self.deaf = self.connect(stack, self.people[0], name, small_buffers=True, wrong_clock=True)
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


async def sleep_now_and_then(
    room: Room, device: Device, ledger: Ledger, source: random.Random
) -> None:
    """A phone that sleeps for longer than two tabs may take to agree, in the middle of a renewal.

    When it wakes, all it has is a refresh token that it has spent, and one that has expired.
    """
    person = room.sleeper
    assert person is not None
    try:
        while True:
            device.away = False
            await device.until_settled(30)
            await asyncio.sleep(source.uniform(2.0, 5.0))
            device.away = True
            await device.stop()
            await _spend_unheard(person)
            ledger.counts["phones asleep"] += 1
            await asyncio.sleep(source.uniform(ASLEEP, ASLEEP + 4.0))
            device.start()
    finally:
        device.away = False
        if not device.running:
            device.start()


async def _spend_unheard(person: Person) -> None:
    while True:
        try:
            await person.session.spend_unheard(person.http)
        except Unreachable:
            await asyncio.sleep(0.5)
        else:
            return

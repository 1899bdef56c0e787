"""Every service that changes a conversation, each in the situations where it acts differently."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from accounts.models import User
from accounts.services import create_guest
from chat.models import (
    Assistant,
    Conversation,
    Invitation,
    JoinRequest,
    Member,
    Message,
    Report,
)
from chat.models.tokens import invitation_token
from chat.services import (
    conversations,
    joining,
    members,
    merging,
    messages,
    mine,
    moderation,
    replies,
    reply_actions,
    reports,
    staff,
    threads,
    topics,
)
from chat.services.replies import Claim
from tests.chat.world import World
from tests.faults.known import Frame

Act = Callable[[World], object]


def _then(prepare: Callable[[World], Any], act: Callable[[World, Any], object]) -> Any:
    return prepare, act


def stop(world: World, reply: Message) -> object:
    return reply_actions.request_stop(user=world.bob, message_id=reply.pk)


def _claimed_five_times(world: World) -> Message:
    reply = world.say(assistant="assistant")
    for _ in range(replies.MAX_ATTEMPTS):
        world.claim(reply)
    return reply


def _stopped_while_streaming(world: World) -> Claim:
    claim = world.streaming()
    stop(world, claim.message)
    return claim


def _stopped_then_lost(world: World) -> Claim:
    claim = _stopped_while_streaming(world)
    assert replies.claim_reply(message_id=claim.message.pk, conversation_id=world.id) is None
    return claim


def _again(world: World, claim: Claim) -> object:
    return reply_actions.regenerate(user=world.bob, message_id=claim.message.pk)


def _go_on(world: World, claim: Claim) -> object:
    return reply_actions.continue_reply(user=world.bob, message_id=claim.message.pk)


def _going_on(world: World) -> Claim:
    claim = _stopped_then_lost(world)
    _go_on(world, claim)
    return claim


def name(world: World) -> Message:
    return messages.send_message(
        user=world.alice,
        conversation_id=world.id,
        client_id=uuid4().hex,
        content="@all, @bob: is it raining?",
    ).message


def edit(
    world: World, message: Message, client_id: str = "", content: str = "Is it snowing?"
) -> messages.SentMessage:
    return messages.edit_message(
        user=world.alice,
        message_id=message.pk,
        client_id=client_id or uuid4().hex,
        content=content,
    )


def _ended(world: World) -> Claim:
    claim = world.streaming()
    world.finish(claim)
    return claim


def _nothing(world: World) -> None:
    return None


def with_charlie(world: World) -> Member:
    return members.add_member(user=world.alice, conversation_id=world.id, person=world.charlie.pk)


def _charlie_left(world: World) -> Member:
    return members.remove_member(
        user=world.charlie, conversation_id=world.id, member_id=with_charlie(world).pk
    )


def _listed(world: World) -> Conversation:
    return conversations.change_conversation(
        user=world.alice, conversation_id=world.id, access="listed"
    )


def _ask(world: World) -> JoinRequest:
    return joining.request_to_join(user=world.charlie, conversation_id=world.id)


def _invite(world: World, **values: Any) -> Invitation:
    return joining.create_invitation(user=world.alice, conversation_id=world.id, **values)


def _taken(world: World) -> Invitation:
    link = _invite(world)
    joining.take_invitation(user=world.charlie, token=invitation_token(link))
    return link


_TOMORROW = datetime(2999, 1, 1, tzinfo=UTC)


def _pin(world: World, message: Message, *, on: bool = True) -> Message:
    return moderation.pin_message(user=world.alice, message_id=message.pk, on=on)


def _silence(world: World, until: datetime | None) -> Member:
    return moderation.silence_member(
        user=world.alice, conversation_id=world.id, member_id=world.member(world.bob), until=until
    )


def _reported(world: World) -> Report:
    with_charlie(world)
    return reports.report_message(
        user=world.bob, message_id=world.say(world.charlie).pk, reason="spam"
    )[0]


def _resolve(world: World, report: Report, resolution: str, **options: Any) -> Report:
    return reports.resolve_report(
        user=world.alice,
        conversation_id=world.id,
        report_id=report.pk,
        resolution=resolution,
        **options,
    )


def _staff(user: User) -> User:
    user.is_staff = True
    return user


def _reply_in_thread(world: World, root: Message, **options: Any) -> Message:
    done = threads.reply_in_thread(
        user=world.bob, message_id=root.pk, client_id=uuid4().hex, content="No.", **options
    )
    return done.sent.message


def _thread_counted(world: World) -> Message:
    said = _reply_in_thread(world, world.say(), assistant="assistant")
    world.count()
    return said


def _guest(world: World, account: User, role: str = "guest") -> User:
    """A guest who said something, and is to be merged into an account."""
    guest = create_guest(display_name="Dora")
    members.add_member(user=world.alice, conversation_id=world.id, person=guest.pk)
    Member.objects.filter(user=guest).update(role=role)
    world.react(guest, world.say(guest), "👍")
    world.count()
    guest.merged_into = account
    guest.save(update_fields=["merged_into"])
    return guest


def _merge(world: World, guest: User) -> None:
    assert guest.merged_into is not None
    merging.merge_in_conversation(conversation_id=world.id, guest=guest, account=guest.merged_into)
    world.count()


# Name, which begins with the service's: what comes before, and the change.
SCENARIOS: dict[str, Any] = {
    "change_conversation": _then(
        _nothing,
        lambda world, _: conversations.change_conversation(
            user=world.alice, conversation_id=world.id, title="Rain"
        ),
    ),
    "change_conversation to what it is called": _then(
        _nothing,
        lambda world, _: conversations.change_conversation(
            user=world.alice, conversation_id=world.id, title=""
        ),
    ),
    "change_conversation in all that it has": _then(
        _nothing,
        lambda world, _: conversations.change_conversation(
            user=world.alice,
            conversation_id=world.id,
            title="Rain",
            topic_text="Whether it rains",
            avatar="🌧️",
            access="listed",
            history="joined",
            policy={"send": "moderator"},
        ),
    ),
    "reply_in_thread": _then(
        lambda world: world.say(), lambda world, root: _reply_in_thread(world, root)
    ),
    "reply_in_thread, which is counted": _then(
        lambda world: world.say(),
        lambda world, root: (_reply_in_thread(world, root), world.count()),
    ),
    "reply_in_thread, and in the room": _then(
        lambda world: world.say(),
        lambda world, root: (_reply_in_thread(world, root, also_in_room=True), world.count()),
    ),
    "delete_message in a thread": _then(
        _thread_counted, lambda world, said: (world.delete(said), world.count())
    ),
    "count_reactions to what has a thread": _then(
        _thread_counted,
        lambda world, said: (world.react(world.bob, said.conversation.root, "👍"), world.count()),
    ),
    "archive_conversation": _then(
        _nothing,
        lambda world, _: conversations.archive_conversation(
            user=world.alice, conversation_id=world.id
        ),
    ),
    "unarchive_conversation": _then(
        lambda world: conversations.archive_conversation(
            user=world.alice, conversation_id=world.id
        ),
        lambda world, _: conversations.unarchive_conversation(
            user=world.alice, conversation_id=world.id
        ),
    ),
    "name_conversation": _then(
        _nothing,
        lambda world, _: conversations.name_conversation(conversation_id=world.id, title="Weather"),
    ),
    "send_message": _then(_nothing, lambda world, _: world.say(world.bob)),
    "send_message to the assistant": _then(
        _nothing, lambda world, _: world.say(world.bob, assistant="assistant")
    ),
    "send_message twice": _then(
        lambda world: world.say(client_id="once"), lambda world, _: world.say(client_id="once")
    ),
    "send_message that names everyone": _then(_nothing, lambda world, _: name(world)),
    "edit_message so that it names another": _then(
        name, lambda world, said: edit(world, said, content="@bob, is it?")
    ),
    "delete_message that names everyone": _then(name, lambda world, said: world.delete(said)),
    "send_message in answer to another": _then(
        World.say, lambda world, said: world.say(world.bob, parent=said.pk)
    ),
    "delete_message": _then(
        lambda world: world.say(world.bob),
        lambda world, said: messages.delete_message(user=world.bob, message_id=said.pk),
    ),
    "delete_message twice": _then(
        lambda world: (said := world.say(), world.delete(said))[0],
        lambda world, said: world.delete(said),
    ),
    "delete_message that is replied to": _then(
        World.streaming,
        lambda world, claim: world.delete(Message.objects.get(pk=claim.message.parent_id)),
    ),
    "delete_message while it streams": _then(
        World.streaming, lambda world, claim: world.delete(claim.message)
    ),
    "claim_reply": _then(
        lambda world: world.say(assistant="assistant"), lambda world, reply: world.claim(reply)
    ),
    "claim_reply of a lost worker": _then(
        World.streaming, lambda world, claim: world.claim(claim.message)
    ),
    "claim_reply and say more": _then(
        World.streaming,
        lambda world, claim: world.flush(world.claim(claim.message), "Yes."),
    ),
    "claim_reply of what was to stop": _then(
        _stopped_while_streaming,
        lambda world, claim: replies.claim_reply(
            message_id=claim.message.pk, conversation_id=world.id
        ),
    ),
    "claim_reply too often": _then(
        _claimed_five_times,
        lambda world, reply: replies.claim_reply(message_id=reply.pk, conversation_id=world.id),
    ),
    "finish_reply": _then(World.streaming, lambda world, claim: world.finish(claim)),
    "finish_reply as failed": _then(
        World.streaming, lambda world, claim: world.finish(claim, "failed")
    ),
    "finish_reply as cancelled": _then(
        _stopped_while_streaming, lambda world, claim: world.finish(claim, "cancelled")
    ),
    "finish_reply as interrupted": _then(
        World.streaming, lambda world, claim: world.finish(claim, "interrupted")
    ),
    "finish_reply again": _then(_ended, lambda world, claim: world.finish(claim)),
    "finish_reply too late": _then(
        lambda world: (claim := world.streaming(), world.claim(claim.message))[0],
        lambda world, claim: world.finish(claim),
    ),
    "hand_back_reply": _then(
        World.streaming,
        lambda world, claim: replies.hand_back_reply(
            message_id=claim.message.pk, conversation_id=world.id, attempt=claim.attempt
        ),
    ),
    "request_stop before it begins": _then(
        lambda world: world.say(assistant="assistant"), lambda world, reply: stop(world, reply)
    ),
    "request_stop while it streams": _then(
        World.streaming, lambda world, claim: stop(world, claim.message)
    ),
    "request_stop too late": _then(_ended, lambda world, claim: stop(world, claim.message)),
    "regenerate": _then(_ended, _again),
    "regenerate what was stopped": _then(_stopped_then_lost, _again),
    "regenerate twice": _then(
        lambda world: (claim := _ended(world), _again(world, claim))[0], _again
    ),
    "continue_reply": _then(_stopped_then_lost, _go_on),
    "continue_reply twice": _then(_going_on, _go_on),
    "continue_reply, then claim it and say more": _then(
        _stopped_then_lost,
        lambda world, claim: (
            _go_on(world, claim),
            world.flush(world.claim(claim.message), "at all."),
        ),
    ),
    "continue_reply, then stop it": _then(
        _going_on, lambda world, claim: stop(world, claim.message)
    ),
    "edit_message": _then(World.say, edit),
    "edit_message to what it says": _then(
        lambda world: edit(world, world.say()).message, lambda world, said: edit(world, said)
    ),
    "edit_message as a branch": _then(
        lambda world: world.claim(world.say()).message.parent,
        lambda world, said: edit(world, said),
    ),
    "edit_message as a branch, twice": _then(
        lambda world: (reply := world.say(), edit(world, reply.parent, "once"))[0].parent,
        lambda world, said: edit(world, said, "once"),
    ),
    "retitle_as_staff": _then(
        _nothing,
        lambda world, _: staff.retitle_as_staff(conversation_id=world.id, title="Rain"),
    ),
    "add_assistant": _then(
        _nothing,
        lambda world, _: members.add_assistant(
            user=world.alice,
            conversation_id=world.id,
            slug=Assistant.objects.create(slug="ada").slug,
        ),
    ),
    "add_member_as_staff": _then(
        _nothing,
        lambda world, _: staff.add_member_as_staff(conversation_id=world.id, user=world.charlie),
    ),
    "change_member_as_staff": _then(
        with_charlie,
        lambda world, member: staff.change_member_as_staff(
            member=member, role="admin", nickname="Charles"
        ),
    ),
    "remove_member_as_staff": _then(
        with_charlie, lambda world, member: staff.remove_member_as_staff(member=member)
    ),
    "add_member": _then(_nothing, lambda world, _: with_charlie(world)),
    "add_member again": _then(_charlie_left, lambda world, _: with_charlie(world)),
    "remove_member": _then(
        with_charlie,
        lambda world, member: members.remove_member(
            user=world.alice, conversation_id=world.id, member_id=member.pk
        ),
    ),
    "remove_member, oneself": _then(
        _nothing,
        lambda world, _: members.remove_member(
            user=world.bob, conversation_id=world.id, member_id=world.member(world.bob)
        ),
    ),
    "remove_member, the last owner": _then(
        lambda world: members.change_member(
            user=world.alice,
            conversation_id=world.id,
            member_id=with_charlie(world).pk,
            role="owner",
        ),
        lambda world, member: (
            members.change_member(
                user=world.charlie,
                conversation_id=world.id,
                member_id=world.member(world.alice),
                role="admin",
            ),
            members.remove_member(
                user=world.charlie, conversation_id=world.id, member_id=member.pk
            ),
        ),
    ),
    "hand_over_rooms": _then(
        _nothing, lambda world, _: members.hand_over_rooms(user_id=world.alice.pk)
    ),
    "change_member": _then(
        _nothing,
        lambda world, _: members.change_member(
            user=world.alice,
            conversation_id=world.id,
            member_id=world.member(world.bob),
            role="admin",
            nickname="Bobby",
        ),
    ),
    "join_room": _then(
        lambda world: conversations.change_conversation(
            user=world.alice, conversation_id=world.id, access="open"
        ),
        lambda world, _: joining.join_room(user=world.charlie, conversation_id=world.id),
    ),
    "request_to_join": _then(_listed, lambda world, _: _ask(world)),
    "decide_request": _then(
        lambda world: (_listed(world), _ask(world))[1],
        lambda world, request: joining.decide_request(
            user=world.alice, conversation_id=world.id, request_id=request.pk, accept=True
        ),
    ),
    "create_invitation": _then(_nothing, lambda world, _: _invite(world)),
    "change_invitation": _then(
        lambda world: _invite(world),
        lambda world, link: joining.change_invitation(
            user=world.alice, conversation_id=world.id, invitation_id=link.pk, renew=True
        ),
    ),
    "revoke_invitation": _then(
        lambda world: _invite(world),
        lambda world, link: joining.revoke_invitation(
            user=world.alice, conversation_id=world.id, invitation_id=link.pk
        ),
    ),
    "take_invitation": _then(
        lambda world: _invite(world),
        lambda world, link: joining.take_invitation(
            user=world.charlie, token=invitation_token(link)
        ),
    ),
    "take_invitation_as_guest": _then(
        lambda world: _invite(world, guests=True),
        lambda world, link: joining.take_invitation_as_guest(
            name="Dora", token=invitation_token(link)
        ),
    ),
    "remove_invited": _then(
        _taken,
        lambda world, link: joining.remove_invited(
            user=world.alice, conversation_id=world.id, invitation_id=link.pk
        ),
    ),
    "ban_member": _then(
        with_charlie,
        lambda world, member: members.ban_member(
            user=world.alice, conversation_id=world.id, member_id=member.pk
        ),
    ),
    "lift_ban": _then(
        lambda world: members.ban_member(
            user=world.alice, conversation_id=world.id, member_id=with_charlie(world).pk
        ),
        lambda world, ban: members.lift_ban(
            user=world.alice, conversation_id=world.id, ban_id=ban.pk
        ),
    ),
    "pin_message": _then(World.say, lambda world, said: _pin(world, said)),
    "pin_message taken away": _then(
        lambda world: _pin(world, world.say()), lambda world, said: _pin(world, said, on=False)
    ),
    "pin_message that is deleted": _then(
        lambda world: _pin(world, world.say()), lambda world, said: world.delete(said)
    ),
    "send_message in answer to one that is deleted": _then(
        lambda world: (said := world.say(), world.delete(said))[0],
        lambda world, said: world.say(world.bob, parent=said.pk),
    ),
    "silence_member": _then(_nothing, lambda world, _: _silence(world, _TOMORROW)),
    "silence_member no more": _then(
        lambda world: _silence(world, _TOMORROW), lambda world, _: _silence(world, None)
    ),
    "change_conversation to slow mode": _then(
        _nothing,
        lambda world, _: conversations.change_conversation(
            user=world.alice, conversation_id=world.id, slow_seconds=30
        ),
    ),
    "delete_messages_of": _then(
        lambda world: [world.say(world.bob), world.say(), world.say(world.bob)],
        lambda world, _: moderation.delete_messages_of(
            user=world.alice, conversation_id=world.id, member_id=world.member(world.bob)
        ),
    ),
    "resolve_report": _then(_reported, lambda world, report: _resolve(world, report, "deleted")),
    "resolve_report by dismissing it": _then(
        _reported, lambda world, report: _resolve(world, report, "dismissed")
    ),
    "resolve_report by a ban": _then(
        _reported, lambda world, report: _resolve(world, report, "banned")
    ),
    "resolve_report by silence": _then(
        _reported, lambda world, report: _resolve(world, report, "silenced", until=_TOMORROW)
    ),
    "resolve_report_as_staff": _then(
        lambda world: reports.report_message(
            user=world.bob, message_id=world.say().pk, reason="abuse"
        )[0],
        lambda world, report: reports.resolve_report_as_staff(
            user=_staff(world.charlie), report_id=report.pk, resolution="deleted"
        ),
    ),
    "merge_in_conversation": _then(
        lambda world: _guest(world, world.charlie), lambda world, guest: _merge(world, guest)
    ),
    "merge_in_conversation into one who is in it": _then(
        lambda world: _guest(world, world.bob), lambda world, guest: _merge(world, guest)
    ),
    "merge_in_conversation while it streams": _then(
        lambda world: (
            guest := _guest(world, world.charlie, role="member"),
            reply := world.say(guest, assistant="assistant"),
            world.flush(claim := world.claim(reply), "No, "),
            (guest, claim),
        )[-1],
        lambda world, prepared: (
            _merge(world, prepared[0]),
            world.flush(prepared[1], "it is not."),
            world.finish(prepared[1]),
        ),
    ),
    "merge_in_conversation twice": _then(
        lambda world: (guest := _guest(world, world.charlie), _merge(world, guest))[0],
        lambda world, guest: _merge(world, guest),
    ),
    "change_mine": _then(
        _nothing,
        lambda world, _: mine.change_mine(user=world.bob, conversation_id=world.id, level="none"),
    ),
    "mark_read": _then(
        World.say,
        lambda world, said: mine.mark_read(
            user=world.bob, conversation_id=world.id, number=said.number
        ),
    ),
    "mark_unread": _then(
        lambda world: (
            said := world.say(),
            mine.mark_read(user=world.bob, conversation_id=world.id, number=said.number),
        )[0],
        lambda world, said: mine.mark_unread(
            user=world.bob, conversation_id=world.id, message_id=said.pk
        ),
    ),
    "count_reactions": _then(
        lambda world: (said := world.say(), world.react(world.alice, said, "👍"))[0],
        lambda world, said: (world.react(world.bob, said, "👍"), world.count()),
    ),
    "count_reactions under two messages": _then(
        lambda world: [world.say(), world.say()],
        lambda world, said: (
            world.react(world.alice, said[0], "👍"),
            world.react(world.alice, said[1], "🎉"),
            world.react(world.bob, said[1], "❤"),
            world.count(),
        ),
    ),
    "count_reactions taken back": _then(
        lambda world: (
            said := world.say(),
            world.react(world.alice, said, "👍"),
            world.react(world.bob, said, "👍"),
            world.count(),
        )[0],
        lambda world, said: (world.react(world.alice, said, "👍", on=False), world.count()),
    ),
    "count_reactions that were taken back before": _then(
        lambda world: (said := world.say(), world.react(world.alice, said, "👍"))[0],
        lambda world, said: (world.react(world.alice, said, "👍", on=False), world.count()),
    ),
    "create_topic in a forum": _then(_nothing, lambda world, _: world.ask(world.bob)),
    "change_topic of a forum": _then(
        World.ask,
        lambda world, topic: topics.change_topic(
            user=world.alice,
            topic_id=topic.pk,
            title="Why?",
            tags=["rain"],
            solved=True,
            closed=True,
            pinned=True,
        ),
    ),
    "change_topic of a forum to what it is": _then(
        World.ask,
        lambda world, topic: topics.change_topic(
            user=world.alice, topic_id=topic.pk, title=topic.title, tags=topic.tags, solved=False
        ),
    ),
    "accept_answer in a forum": _then(
        lambda world: world.answer(world.ask()),
        lambda world, answer: topics.accept_answer(user=world.alice, message_id=answer.pk),
    ),
    "withdraw_answer in a forum": _then(
        World.solved,
        lambda world, answer: topics.withdraw_answer(user=world.alice, message_id=answer.pk),
    ),
    "forget_answer in a forum, as it is deleted": _then(
        World.solved, lambda world, answer: world.delete(answer)
    ),
    "refresh_topic of a forum": _then(
        lambda world: (topic := world.ask(), world.answer(topic))[0],
        lambda world, topic: world.refresh(topic),
    ),
    "give_topic of a forum to another, who accepted its answer too": _then(
        lambda world: (
            topic := world.ask(world.bob),
            topics.accept_answer(user=world.bob, message_id=world.answer(topic).pk),
        )[0],
        lambda world, topic: merging.merge_in_conversation(
            conversation_id=topic.pk, guest=world.bob, account=world.charlie
        ),
    ),
    "mirror in a forum what a topic is called": _then(
        World.ask,
        lambda world, topic: conversations.change_conversation(
            user=world.alice, conversation_id=topic.pk, title="Why?"
        ),
    ),
    "remove from a forum a topic that is deleted": _then(
        World.ask,
        lambda world, topic: conversations.delete_conversation(
            user=world.alice, conversation_id=topic.pk
        ),
    ),
    "mark_read back": _then(
        lambda world: mine.mark_read(
            user=world.bob, conversation_id=world.id, number=world.say().number
        ),
        lambda world, _: mine.mark_read(user=world.bob, conversation_id=world.id, number=1),
    ),
}


def kind_of(scenario: str) -> str:
    """Branches are made in a conversation with an assistant, where history is a tree."""
    if "forum" in scenario:
        return "forum"
    return "assistant" if "branch" in scenario else "group"


def record(world: World, scenario: str) -> tuple[Frame, list[Frame], Frame]:
    """Play a scenario: what is fetched before, the events, what is fetched afterwards."""
    prepare, act = SCENARIOS[scenario]
    prepared = prepare(world)
    before = world.fetch()
    world.published.clear()
    act(world, prepared)
    return before, list(world.published), world.fetch()

"""`manage.py setup`: after it somebody answers; it asks nothing and is run at every deployment."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from accounts.models import User
from chat.models import Assistant, Conversation, Invitation, Message, Topic
from chat.models.tokens import invitation_token
from chat.replies.prompt import chosen_model
from chat.selectors.rooms import room_state
from chat.services.conversations import create_conversation

pytestmark = pytest.mark.django_db


def setup() -> str:
    """Run it, and return what it says."""
    out = StringIO()
    call_command("setup", stdout=out)
    return out.getvalue()


def test_after_it_there_is_somebody_to_talk_to(alice):
    assert "Made the assistant 'assistant'" in setup()
    room = create_conversation(user=alice)
    assert room.members.filter(assistant__slug="assistant").exists()


def test_the_assistant_follows_the_model_of_the_settings(settings):
    settings.DEFAULT_MODEL = "first-model"
    assert "first-model" in setup()
    settings.DEFAULT_MODEL = "second-model"
    assistant = Assistant.objects.get()
    assert chosen_model(Message(), Conversation(), assistant) == "second-model"
    assert assistant.temperature is None  # some models take none


@pytest.mark.parametrize("changed", [{"slug": "jeeves"}, {"is_active": False}])
def test_it_makes_none_where_there_is_one_whatever_became_of_it(changed):
    setup()
    Assistant.objects.update(**changed)
    assert setup() == "No assistant was made: there is one already.\n"
    assert Assistant.objects.count() == 1


def test_it_makes_none_if_told_so(settings):
    settings.FIRST_ASSISTANT = False
    assert "FIRST_ASSISTANT" in setup()
    assert not Assistant.objects.exists()


def test_the_demo_adds_to_what_setup_made(settings):
    settings.PRODUCTION = False
    setup()
    for _ in range(2):
        call_command("demo", stdout=StringIO())
        assert {each.slug for each in Assistant.objects.all()} == {"assistant", "writer"}


def demo(settings: Settings, password: str = "") -> str:
    """Run it, and return the password that it prints."""
    settings.PRODUCTION = False
    said = StringIO()
    call_command("demo", password=password, stdout=said)
    return said.getvalue().split()[-1]


def test_the_demo_shows_a_room_with_people_assistants_a_link_and_something_unread(
    settings: Settings,
) -> None:
    for _ in range(2):
        demo(settings)
    alice = User.objects.get(username="alice")
    rooms = {room.title: room for room in Conversation.objects.filter(members__user=alice)}
    room = rooms["Welcome to Chatire"]
    assert len(rooms) == 3
    assert room.members.count() == 4
    answers = Message.objects.filter(conversation=room, role="assistant", status="complete")
    assert answers.count() == 2
    assert room_state(alice.pk, room.pk).mine.unread == 2
    (link,) = Invitation.objects.all()
    assert Message.objects.filter(content__endswith=f"/join/{invitation_token(link)}").exists()


def test_the_password_of_the_demo_is_the_one_that_is_printed(settings: Settings) -> None:
    for given in ("", "correct-horse", ""):
        printed = demo(settings, given)
        assert not given or printed == given
        assert User.objects.get(username="bob").check_password(printed)


def test_there_is_no_demo_in_production(settings: Settings) -> None:
    settings.PRODUCTION = True
    with pytest.raises(CommandError):
        call_command("demo")
    assert not User.objects.exists()


def test_the_demo_shows_a_forum_with_a_solved_question_and_an_open_one(settings: Settings) -> None:
    for _ in range(2):
        demo(settings)
        solved, waits = Topic.objects.order_by("created_at")
        assert solved.accepted is not None
        assert (solved.accepted.author_user.username, waits.accepted) == ("alice", None)

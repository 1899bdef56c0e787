"""`manage.py setup`: after it somebody answers; it asks nothing and is run at every deployment."""

from io import StringIO

import pytest
from django.core.management import call_command

from chat.models import Assistant, Conversation, Message
from chat.replies.prompt import chosen_model
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

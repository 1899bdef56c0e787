"""An assistant, and a conversation between alice (owner), bob (member) and not charlie."""

from collections.abc import Iterator

import pytest

from accounts.models import User
from chat import unread
from chat.models import Assistant, Conversation
from chat.services import reactions, topic_rows, topic_views
from chat.services.conversations import create_conversation
from tests.chat.asker import Asker
from tests.fakes.openai_server import RunningServer


@pytest.fixture(autouse=True)
def _no_touches_across_tests() -> Iterator[None]:
    """The thread that counts unread messages ends with the test whose rows it counts."""
    yield
    unread.stop()
    reactions.stop()
    topic_rows.stop()
    topic_views.stop()


@pytest.fixture
def assistant(db: None) -> Assistant:
    """An assistant whose model is the default one."""
    return Assistant.objects.create(
        slug="assistant", name="Assistant", system_prompt="Be brief.", allowed_models=["other"]
    )


@pytest.fixture
def chat(alice: User, assistant: Assistant) -> Conversation:
    """Alice's conversation with the assistant."""
    return create_conversation(user=alice)


@pytest.fixture
def group(alice: User, bob: User) -> Conversation:
    """A group of alice, who owns it, and bob."""
    return create_conversation(user=alice, kind="group", title="Lunch", members=[bob.pk])


@pytest.fixture
def model(fake_model: RunningServer) -> Asker:
    """Who asks the fake model."""
    return Asker(fake_model)

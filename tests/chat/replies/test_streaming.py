"""A reply from its job to its end, with a real worker and a fake model."""

from chat.models import Message
from chat.worker.process import WorkerProcess
from chatire.threads import in_thread
from tests.chat.replies.conftest import Room, chunks, ended
from tests.fakes.openai_server import RunningServer


async def test_reply_is_what_the_model_said(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    reply = await in_thread(room.say, tokens=40)
    done = await ended(reply)
    assert done.status == Message.Status.COMPLETE
    assert done.content == fake_model.records[0].text
    assert done.finish_reason == "stop"
    assert (done.attempt, done.usage_estimated, done.output_tokens) == (1, False, 40)
    assert await in_thread(chunks, reply) == []

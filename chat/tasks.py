"""The worker's edge. The engine is imported only by processes that run it."""

from uuid import UUID

from procrastinate.contrib.django import app
from procrastinate.job_context import JobContext
from structlog.contextvars import bound_contextvars

from chat.change import PURGE_TASK
from chat.services.members import HAND_OVER_TASK, hand_over_rooms
from chat.services.merging import MERGE_TASK, merge_accounts
from chat.services.purge import delete_inner, forget_deleted, purge_some
from chat.services.replies import STREAM_TASK, TITLE_TASK
from chat.services.revisions import erase_wordings
from chat.services.threads import unfollow_quiet
from chat.services.topic_views import forget_views
from core.threads import in_thread


@app.task(name=STREAM_TASK, pass_context=True)
async def stream_reply(
    context: JobContext, message_id: str, conversation_id: str, request_id: str = ""
) -> None:
    """Write a reply. Runs in `manage.py worker`, which brings the engine along.

    `request_id` is that of the request that asked, and goes into every line logged about it.
    """
    with bound_contextvars(**({"request_id": request_id} if request_id else {})):
        await context.additional_context["runner"].run(
            message_id=UUID(message_id), conversation_id=UUID(conversation_id)
        )


@app.task(name=PURGE_TASK)
async def purge_conversation(conversation_id: str) -> None:
    """Delete what was said in a conversation that was deleted, in thousands."""
    await in_thread(delete_inner, conversation_id=UUID(conversation_id))
    while await in_thread(purge_some, conversation_id=UUID(conversation_id)):
        pass


@app.task(name=HAND_OVER_TASK)
async def hand_over(user_id: str) -> None:
    """Give rooms whose last owner was locked out another one."""
    await in_thread(hand_over_rooms, user_id=UUID(user_id))


@app.task(name=MERGE_TASK)
async def merge(guest_id: str) -> None:
    """Let what a guest did be their account's."""
    await in_thread(merge_accounts, guest_id=UUID(guest_id))


@app.periodic(cron="23 4 * * *")
@app.task(name="chat.forget_deleted_conversations", queueing_lock="forget_deleted_conversations")
async def forget_deleted_conversations(timestamp: int) -> None:
    """Drop the empty rows of conversations that were deleted long ago, and who viewed topics."""
    await in_thread(forget_deleted)
    await in_thread(forget_views)


@app.periodic(cron="41 4 * * *")
@app.task(name="chat.erase_wordings", queueing_lock="erase_wordings")
async def erase_former_wordings(timestamp: int) -> None:
    """Erase what messages said before, once it has been kept long enough."""
    await in_thread(erase_wordings)


@app.periodic(cron="47 4 * * *")
@app.task(name="chat.unfollow_quiet_threads", queueing_lock="unfollow_quiet_threads")
async def unfollow_quiet_threads(timestamp: int) -> None:
    """Let nobody follow threads any more in which nothing was said for long and all is read."""
    while await in_thread(unfollow_quiet):
        pass


@app.task(name=TITLE_TASK)
async def write_title(message_id: str) -> None:
    """Let the model name a conversation after its first exchange."""
    from chat.replies.titles import write_title_after

    await write_title_after(UUID(message_id))

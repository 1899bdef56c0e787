"""The worker's edge. The engine is imported only by processes that run it."""

from uuid import UUID

from procrastinate.contrib.django import app
from procrastinate.job_context import JobContext
from structlog.contextvars import bound_contextvars

from chat.services.replies import STREAM_TASK, TITLE_TASK


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


@app.task(name=TITLE_TASK)
async def write_title(message_id: str) -> None:
    """Let the model name a conversation after its first exchange."""
    from chat.replies.titles import write_title_after

    await write_title_after(UUID(message_id))

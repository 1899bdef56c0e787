"""A Channels project of nothing else: what is sent to a group reaches its two members."""

import asyncio
import sys

import django
from channels.layers import get_channel_layer
from django.core.management import call_command

# The layer stands on channels_postgres, whose module has models.
django.setup()

import channels_pgnotify  # noqa: E402


async def main() -> None:
    layer = get_channel_layer()
    members = [await layer.new_channel() for _ in range(2)]
    for member in members:
        await layer.group_add("room", member)
    await layer.group_send("room", {"type": "said", "text": "hello"})
    heard = [await asyncio.wait_for(layer.receive(member), 10) for member in members]
    assert heard == [{"type": "said", "text": "hello"}] * 2, heard
    await layer.close()


assert channels_pgnotify.__file__.startswith(sys.prefix), channels_pgnotify.__file__
call_command("migrate", verbosity=0)
asyncio.run(main())
print(f"{channels_pgnotify.__file__} works in a project of its own.")

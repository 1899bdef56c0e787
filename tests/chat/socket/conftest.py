"""The channel layer of a test."""

from collections.abc import AsyncIterator

import pytest
from channels.layers import get_channel_layer


@pytest.fixture
async def layer_of_this_loop() -> AsyncIterator[None]:
    """Each test has an event loop of its own; the layer's tasks on it end with it."""
    yield
    await get_channel_layer().close()

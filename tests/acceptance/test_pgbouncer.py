"""Behind a transaction-mode PgBouncer, with a direct connection for what listens."""

import subprocess

import pytest

from tests.acceptance.client import person
from tests.acceptance.conftest import StartStack
from tests.acceptance.stack import ROOT, Stack
from tests.fakes.script import directive
from tests.fakes.text import expected_text

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


def doctor(stack: Stack, **changed: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py doctor` in a stack's environment."""
    return subprocess.run(
        [str(ROOT / ".venv" / "bin" / "python"), "manage.py", "doctor"],
        cwd=ROOT,
        env={**stack.env, **changed},
        capture_output=True,
        text=True,
        check=False,
    )


async def test_a_chat_works_and_the_doctor_knows_a_pooler_that_swallows_listen(
    start_stack: StartStack, pooler: str
) -> None:
    stack = start_stack(pooler=pooler)
    async with person(stack) as guest, guest.device() as browser:
        chat = await guest.open_chat()
        room = await browser.follow(chat)
        for seed in (61, 62):
            sent = await guest.say(chat, f"Go {directive(tokens=80, seed=seed)}")
            reply = await browser.finished(chat, sent["reply"]["id"])
            assert reply.text == reply.final == expected_text(seed, 80)
        assert room.faults == []

    healthy = doctor(stack)
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr
    lost = doctor(stack, DATABASE_DIRECT_URL="")
    assert lost.returncode != 0
    assert "PROBLEM  channel layer" in lost.stdout

"""A client that a generator made of the served AsyncAPI document: classes none of us wrote."""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.client import DEADLINE, person
from tests.acceptance.stack import ROOT, Stack
from tests.fakes.script import directive
from tests.fakes.text import expected_text

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

NODE_MODULES = ROOT / "frontend" / "node_modules"
SOURCES = Path(__file__).with_name("generated_client")
# A Node.js that came as a wheel goes before the machine's.
PATH = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
STRICT = ["--strict", "--target", "es2023", "--module", "commonjs", "--types", "node"]


async def run(folder: Path, *command: str, **env: str) -> str:
    """Run node in a folder and return what it printed."""
    done = await asyncio.to_thread(
        subprocess.run,
        ["node", *command],
        cwd=folder,
        env={**os.environ, "PATH": PATH, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * DEADLINE,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


async def build(folder: Path, document: dict[str, Any]) -> None:
    """Generate the classes, and compile them with the client that uses them."""
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    (folder / "node_modules").symlink_to(NODE_MODULES)
    (folder / "asyncapi.json").write_text(json.dumps(document))
    await run(folder, "models.mjs", "asyncapi.json", "models")
    await run(folder, "node_modules/typescript/bin/tsc", *STRICT, "--outDir", "built", "client.ts")


async def test_a_client_made_of_the_document_compiles_and_chats(
    stack: Stack, tmp_path: Path
) -> None:
    if shutil.which("node", path=PATH) is None or not (NODE_MODULES / "@asyncapi").is_dir():
        assert "CI" not in os.environ
        pytest.skip("the frontend's packages are not installed")
    async with person(stack, "alice") as alice:
        await build(tmp_path, (await alice.http.get("/api/asyncapi.json")).json())
        chat = await alice.open_chat()
        content = f"Tell me {directive(tokens=40, seed=8)}"

        printed = await run(
            tmp_path, "built/client.js", f"{stack.ws_url}/ws/", chat, content, TOKEN=alice.token
        )

        message, reply = await alice.history(chat)
        assert message["content"] == content
        assert reply["content"] == expected_text(8, 40)
        assert json.loads(printed) == {
            "protocol": "chatire.v1",
            "user": alice.user["name"],
            "conversation": chat,
            "message": message["id"],
            "reply": {"id": reply["id"], "content": reply["content"], "answers": message["id"]},
            "streamed": reply["content"],
        }

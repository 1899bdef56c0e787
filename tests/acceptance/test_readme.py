"""The README's examples, run as they are printed, against real processes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.stack import ROOT, Stack
from tests.fakes.script import directive
from tests.fakes.text import expected_text

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

README = (ROOT / "README.md").read_text()


def example(heading: str, language: str, stack: Stack) -> str:
    """Return the last example under a heading, pointed at the stack's ports."""
    section = README.split(f"### {heading}\n")[1].split("\n## ")[0].split("\n### ")[0]
    code = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)[-1]
    return code.replace("http://127.0.0.1:8000", stack.url).replace(
        "ws://127.0.0.1:8081", stack.ws_url
    )


def test_the_examples_by_rest_and_from_python_work(stack: Stack, tmp_path: Path) -> None:
    by_rest = example("By REST", "sh", stack)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'{by_rest}\necho "$TOKEN $CONVERSATION"'],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sent, _ = json.JSONDecoder().raw_decode(done.stdout)
    assert sent["message"]["content"] == "What is the capital of France?"
    assert sent["reply"]["status"] == "pending"
    *_, last = done.stdout.splitlines()
    token, conversation = last.split()

    program = tmp_path / "ask.py"
    program.write_text(example("By WebSocket, from Python", "python", stack))
    question = f"And of Italy? {directive(tokens=40, seed=11)}"
    asked = subprocess.run(
        [sys.executable, str(program), token, conversation, question],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout == expected_text(11, 40) + "\n"

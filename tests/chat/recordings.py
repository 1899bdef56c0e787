"""What the server told, played to the frontend's own reducers by Vitest."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FRONTEND = ROOT / "frontend"


def play_to_the_frontend(test_file: str, cases: list[dict[str, Any]], folder: Path) -> None:
    """Run a file of the frontend's tests over recorded cases; each must pass, and one more."""
    # A Node.js that came as a wheel goes before the machine's.
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    npm = shutil.which("npm", path=path)
    if npm is None or not (FRONTEND / "node_modules").is_dir():
        assert "CI" not in os.environ
        pytest.skip("the frontend's packages are not installed")
    recorded = folder / "recorded.json"
    recorded.write_text(json.dumps(cases))
    done = subprocess.run(
        [npm, "exec", "--offline", "vitest", "run", f"tests/{test_file}"],
        cwd=FRONTEND,
        env={**os.environ, "PATH": path, "EQUIVALENCE": str(recorded), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert f"{len(cases) + 1} passed" in done.stdout

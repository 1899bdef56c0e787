"""Before there is an environment."""

import subprocess
import sys
from pathlib import Path

BOOTSTRAP = Path(__file__).resolve().parents[2] / "chatire" / "stack" / "bootstrap.py"


def test_old_python_is_refused_in_one_line():
    completed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import runpy, sys; sys.version_info = (3, 9, 2); runpy.run_path(sys.argv[1])",
            str(BOOTSTRAP),
        ],
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 1
    assert completed.stderr.startswith("Chatire needs Python 3.11 or newer; this is 3.9.")
    assert completed.stderr.count("\n") == 1

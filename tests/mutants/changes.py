"""Which lines of the checkout have changed since a commit."""

import re
import subprocess
from pathlib import Path

_HUNK = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", re.MULTILINE)


def changed_lines(root: Path, commit: str, file: str) -> set[int]:
    """Return the numbers of the file's lines that are new or different since the commit."""
    command = ["git", "diff", "--unified=0", "--no-ext-diff", "--no-color", commit, "--", file]
    diff = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return {
        line
        for start, length in _HUNK.findall(diff)
        for line in range(int(start), int(start) + int(length or 1))
    }

"""Fixtures for the stack's tests."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A folder that the database's unprivileged user can reach; pytest's own is closed to it."""
    folder = Path(tempfile.mkdtemp(prefix="chatire-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)

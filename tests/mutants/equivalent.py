"""The list of mutants that cannot be noticed, equivalent.toml."""

import tomllib
from pathlib import Path

from tests.mutants.mutation import Mutant

Key = tuple[str, str, str]


def read_equivalent(root: Path) -> dict[Key, str]:
    """Return the reason of each, by file, the line before and the line after."""
    table = tomllib.loads((root / "tests/mutants/equivalent.toml").read_text())
    return {
        (entry["file"], entry["before"], entry["after"]): entry["reason"]
        for entry in table.get("mutant", [])
    }


def key(mutant: Mutant) -> Key:
    """Return what the list knows a mutant by."""
    return mutant.file, mutant.before, mutant.after

"""The checkout once more, with every mutant in it, in .chatire/mutants/tree."""

import hashlib
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

from tests.mutants.modules import modules
from tests.mutants.mutation import Mutant, MutatedModule, mutate

# Not copied but linked to: the page's packages and what is built of it, which tests only run.
LINKED = ["frontend"]


@dataclass(frozen=True)
class Tree:
    """The mutated tree's mutants, and how many were left out, and why."""

    folder: Path
    digest: str
    mutants: list[Mutant]
    wording: int
    outside_functions: int


def plant(root: Path, folder: Path, processes: int) -> Tree:
    """Copy the checkout and mutate the copy."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in _files(root):
        if name.parts[0] not in LINKED and (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    for name in LINKED:
        (folder / name).symlink_to(root / name)
    digest = _digest(folder)
    with Pool(processes) as pool:
        paths = list(modules(root))
        mutated = pool.starmap(_mutate, [(folder, *path) for path in paths], chunksize=1)
    mutants = [mutant for module in mutated for mutant in module.mutants]
    twice = [name for name, times in Counter(m.name for m in mutants).items() if times > 1]
    assert not twice, f"one name for two mutants: {twice[:3]}"
    return Tree(
        folder,
        digest,
        mutants,
        sum(module.wording for module in mutated),
        sum(module.outside_functions for module in mutated),
    )


def _files(root: Path) -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    return [Path(name) for name in listed.stdout.split("\0") if name]


def _digest(folder: Path) -> str:
    """Return a digest of all code but this runner's."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        if not name.startswith("tests/mutants/"):
            digest.update(f"{name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _mutate(folder: Path, group: str, file: str) -> MutatedModule:
    path = folder / file
    mutated = mutate(group, file, path.read_text())
    path.write_text(mutated.code)
    compile(mutated.code, str(path), "exec")
    return mutated

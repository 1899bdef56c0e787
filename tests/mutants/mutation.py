"""The mutants of a module: mutmut's, and mutmut's way of having them all in one mutated file.

Each mutated function becomes a trampoline that calls the original or, if its name is that of the
mutant under test, one mutant. mutmut leaves decorated functions alone, which here would be those
in a transaction; its trampoline can stand under a decorator as well as anywhere, so it does.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider
from mutmut.mutation import file_mutation
from mutmut.mutation.file_mutation import Mutation, MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import get_ignored_lines
from mutmut.utils.format_utils import mangled_name_from_mutant_name

from tests.mutants.wording import is_wording

_arrange = file_mutation.function_trampoline_arrangement


@dataclass(frozen=True)
class Mutant:
    """One fault. `name` is mutmut's; `before` and `after` are the lines it changes, stripped."""

    name: str
    group: str
    file: str
    line: int
    before: str
    after: str

    @property
    def function(self) -> str:
        """The key under which mutmut records which tests reach the function."""
        return mangled_name_from_mutant_name(self.name)


@dataclass(frozen=True)
class MutatedModule:
    """A module's mutated source and mutants, and how many were left out, and why."""

    code: str
    mutants: list[Mutant]
    wording: int
    outside_functions: int


def mutate(group: str, file: str, code: str) -> MutatedModule:
    """Return all mutants of the module."""
    wrapper = MetadataWrapper(cst.parse_module(code))
    visitor = _Visitor(mutation_operators, get_ignored_lines(file, code, wrapper, None))
    module = wrapper.visit(visitor)
    inside = [m for m in visitor.mutations if _is_function(m.contained_by_top_level_function)]
    kept = [m for m in inside if id(m) not in visitor.wording]
    arranged: list[tuple[str, Mutation]] = []

    def arrange(
        function: cst.FunctionDef, mutants: Iterable[Mutation], class_name: str | None
    ) -> tuple[Any, Any, Any, Sequence[str]]:
        mutants = list(mutants)
        before, nodes, after, names = _arrange_decorated(function, mutants, class_name)
        arranged.extend(zip(names, mutants, strict=True))
        return before, nodes, after, names

    file_mutation.function_trampoline_arrangement = arrange
    try:
        mutated = file_mutation.combine_mutations_to_source(module, kept)
    finally:
        file_mutation.function_trampoline_arrangement = _arrange
    dotted = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    mutants = [
        _describe(f"{dotted}.{name}", group, file, module, mutation, visitor)
        for name, mutation in arranged
    ]
    return MutatedModule(
        mutated.code, mutants, len(inside) - len(kept), len(visitor.mutations) - len(inside)
    )


def _describe(
    name: str,
    group: str,
    file: str,
    module: cst.Module,
    mutation: Mutation,
    visitor: "_Visitor",
) -> Mutant:
    function = mutation.contained_by_top_level_function
    assert isinstance(function, cst.FunctionDef)
    mutated = file_mutation.deep_replace(function, mutation.original_node, mutation.mutated_node)
    assert isinstance(mutated, cst.FunctionDef)
    old, new = (module.code_for_node(node).splitlines() for node in (function, mutated))
    # One place differs: what is the same before and behind it goes.
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    end = 0
    while end < min(len(old), len(new)) - same and old[-1 - end] == new[-1 - end]:
        end += 1
    before, after = (
        " ".join(line.strip() for line in lines[same : len(lines) - end]) for lines in (old, new)
    )
    above = (*function.leading_lines, *function.decorators, *function.lines_after_decorators)
    header = sum(module.code_for_node(node).count("\n") for node in above)
    return Mutant(name, group, file, visitor.starts[function] - header + same, before, after)


class _Visitor(MutationVisitor):
    """mutmut's, which also enters decorated functions and notes mutants of wording."""

    METADATA_DEPENDENCIES = (*MutationVisitor.METADATA_DEPENDENCIES, ParentNodeProvider)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.starts: dict[cst.CSTNode, int] = {}
        self.wording: set[int] = set()

    def _create_mutations(self, node: cst.CSTNode) -> None:
        have = len(self.mutations)
        super()._create_mutations(node)
        if isinstance(node, cst.FunctionDef):
            self.starts[node] = self.get_metadata(PositionProvider, node).start.line
        if len(self.mutations) == have:
            return
        ancestors = list(self._ancestors(node))
        for mutation in self.mutations[have:]:
            if is_wording(mutation.original_node, mutation.mutated_node, ancestors):
                self.wording.add(id(mutation))

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        skipped = super()._skip_node_and_children(node)
        if not skipped or not isinstance(node, cst.FunctionDef) or not node.decorators:
            return skipped
        # mutmut tells apart by the node itself, so what it thinks of it undecorated is asked anew.
        bare = node.with_changes(decorators=[])
        return super()._skip_node_and_children(bare) or not _can_stand_under(node.decorators)

    def _ancestors(self, node: cst.CSTNode) -> Iterable[cst.CSTNode]:
        parent = self.get_metadata(ParentNodeProvider, node, None)
        while parent is not None:
            yield parent
            parent = self.get_metadata(ParentNodeProvider, parent, None)


def _is_function(node: cst.CSTNode | None) -> bool:
    return isinstance(node, cst.FunctionDef)


def _can_stand_under(decorators: Sequence[cst.Decorator]) -> bool:
    """Not a setter, which would take its getter's name, nor what has no body."""
    words = [cst.Module([]).code_for_node(decorator.decorator) for decorator in decorators]
    return not any(
        word.endswith((".setter", ".deleter", "abstractmethod", "overload")) for word in words
    )


def _arrange_decorated(
    function: cst.FunctionDef, mutants: list[Mutation], class_name: str | None
) -> tuple[Any, Any, Any, Sequence[str]]:
    """Decorate the trampoline only, not the original and the mutants that it calls."""
    decorators = function.decorators
    words = [cst.Module([]).code_for_node(decorator.decorator) for decorator in decorators]
    if not decorators or words in (["classmethod"], ["staticmethod"]):
        return _arrange(function, mutants, class_name)
    bare = function.with_changes(decorators=[])
    before, nodes, after, names = _arrange(bare, mutants, class_name)
    trampoline, *copies = nodes
    trampoline = trampoline.with_changes(decorators=[*decorators, *trampoline.decorators])
    return before, [trampoline, *copies], after, names

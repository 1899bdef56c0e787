"""Which mutants change only a text that people read.

The rule, as docs/mutants.md states it: left out is a mutant of a string or of an argument

- of a call that logs: what a log line says;
- of the message of an exception that is raised: the first positional argument, if it is a text
  with a space in it. A code such as "turn_gone" is no wording;
- named help_text, verbose_name, description, detail, label or title.

SQL is not wording wherever it stands, nor is anything else.
"""

import re
from collections.abc import Iterable

import libcst as cst

_LOGGING = re.compile(
    r"(?:.*\b)?_?log(?:ger)?\.(?:debug|info|warning|error|exception|critical|log)"
)
_NAMED = {"help_text", "verbose_name", "description", "detail", "label", "title"}
_SQL = re.compile(r"\b(?:SELECT|INSERT|UPDATE|DELETE|FROM|WHERE|NOTIFY|LISTEN|CREATE|SET)\b")


def is_wording(
    original: cst.CSTNode, mutated: cst.CSTNode, ancestors: Iterable[cst.CSTNode]
) -> bool:
    """Say whether the mutant changes nothing but a text for people."""
    if _is_in_log_call(original) or _changes_message(original, mutated):
        return True
    for outer in ancestors:
        if _is_in_log_call(outer):
            return True
        if isinstance(outer, cst.Arg) and _is_named(outer) and _is_text(original):
            return True
        if isinstance(outer, cst.Raise):
            return _is_text(original) and _is_message(outer, original)
        if isinstance(outer, cst.BaseCompoundStatement):
            return False
    return False


def _code(node: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(node)


def _is_in_log_call(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.Call) and _LOGGING.fullmatch(_code(node.func)) is not None


def _is_named(argument: cst.Arg) -> bool:
    return argument.keyword is not None and argument.keyword.value in _NAMED


def _is_text(node: cst.CSTNode) -> bool:
    """A literal of words, not of SQL."""
    if not isinstance(node, cst.SimpleString | cst.FormattedString | cst.ConcatenatedString):
        return False
    code = _code(node)
    return " " in code and _SQL.search(code) is None


def _message(raised: cst.Raise) -> cst.BaseExpression | None:
    """The text with which the exception is made, if there is one."""
    call = raised.exc
    if not isinstance(call, cst.Call) or not call.args or call.args[0].keyword is not None:
        return None
    return call.args[0].value if _is_text(call.args[0].value) else None


def _is_message(raised: cst.Raise, text: cst.CSTNode) -> bool:
    message = _message(raised)
    if message is None:
        return False
    found: list[cst.CSTNode] = [message]
    while found:
        node = found.pop()
        if node is text:
            return True
        found.extend(node.children)
    return False


def _changes_message(original: cst.CSTNode, mutated: cst.CSTNode) -> bool:
    """Of `Error("A text.", …)`: the text made None, or left out where nothing takes its place."""
    if not isinstance(original, cst.Call) or not isinstance(mutated, cst.Call):
        return False
    if not original.args or original.args[0].keyword is not None:
        return False
    first = original.args[0].value
    name = _code(original.func).rpartition(".")[2]
    if not name[:1].isupper() or not _is_text(first):
        return False
    others = original.args[1:]
    if len(mutated.args) == len(original.args):
        return mutated.args[0].value is not first
    positional = [argument for argument in others if argument.keyword is None]
    return not positional and all(argument.value is not first for argument in mutated.args)

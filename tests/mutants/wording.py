"""Which mutants change only a text that people read.

The rule, as docs/mutants.md states it: left out is a mutant of a string or of an argument

- of a call that logs: what a log line says;
- that is the message of an exception or of an assertion: the first positional argument, if it is a
  text with a space in it. A code such as "turn_gone" is no wording;
- named help_text, verbose_name, description, detail, label or title;
- that is a sentence, wherever it stands: from a capital letter to a full stop.

SQL is not wording wherever it stands, nor is anything else.
"""

import re
from collections.abc import Iterable

import libcst as cst

_LOGGING = re.compile(
    r"(?:.*\b)?_?log(?:ger)?\.(?:debug|info|warning|error|exception|critical|log)"
)
_NAMED = {"help_text", "verbose_name", "description", "detail", "label", "title"}
_SQL = re.compile(r"\W*[bf]?\W*(?:SELECT|INSERT|UPDATE|DELETE|FROM|WHERE|NOTIFY|LISTEN|SET)\b")
_SENTENCE = re.compile(r"""f?["'][A-Z][a-z]* .*[.?!](?:\\n)*["']""")


def is_wording(
    original: cst.CSTNode, mutated: cst.CSTNode, ancestors: Iterable[cst.CSTNode]
) -> bool:
    """Say whether the mutant changes nothing but a text for people."""
    if _is_in_log_call(original) or _changes_message(original, mutated):
        return True
    if not _is_text(original):
        return any(_is_in_log_call(outer) for outer in ancestors)
    if _SENTENCE.fullmatch(_code(original)):
        return True
    inner = original
    for outer in ancestors:
        if _is_in_log_call(outer):
            return True
        if isinstance(outer, cst.Arg) and _is_named(outer):
            return True
        if isinstance(outer, cst.Call) and inner is _message(outer):
            return True
        if isinstance(outer, cst.Assert):
            return inner is outer.msg
        if isinstance(outer, cst.BaseCompoundStatement):
            return False
        if not isinstance(outer, cst.Arg):
            inner = outer
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
    return " " in code and _SQL.match(code) is None


def _message(call: cst.Call) -> cst.BaseExpression | None:
    """The text with which an exception, or another object, is made; None if there is no such."""
    name = _code(call.func).rpartition(".")[2]
    if not name[:1].isupper() or not call.args or call.args[0].keyword is not None:
        return None
    return call.args[0].value if _is_text(call.args[0].value) else None


def _changes_message(original: cst.CSTNode, mutated: cst.CSTNode) -> bool:
    """Of `Error("A text.", …)`: the text made None, or left out where nothing takes its place."""
    if not isinstance(original, cst.Call) or not isinstance(mutated, cst.Call):
        return False
    message = _message(original)
    if message is None or any(argument.value is message for argument in mutated.args):
        return False
    others = [argument for argument in original.args[1:] if argument.keyword is None]
    return len(mutated.args) == len(original.args) or not others

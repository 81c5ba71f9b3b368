"""Conditions over the columns of the training table, as in `artist == "X" and year < 1950`.

A small part of Python's syntax, evaluated here rather than by Python: `and`, `or`, `not`, comparisons of a column with
a string or a number (also chained), `in` and `not in` with a list. Column names that are not identifiers are written in
backticks. Strings are compared as text, however accents are composed, numbers with the column's values read as numbers.
Empty values satisfy no comparison, nor do values that are not numbers in a comparison with a number.
"""

from __future__ import annotations

import ast
import keyword
import math
import operator
import re
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from guda.core.errors import ConfigError, nearest_name

if TYPE_CHECKING:
    import pandas as pd

COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
MIRRORED: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
SYNTAX = 'write it as in: artist == "X" and year < 1950, and columns with spaces or signs as in `birth year` < 1900'
KEY = "data.conditions"
SHOWN = 200  # characters of a condition in errors
DEEP = "it is nested too deeply"
OWN_WORDS = {"and", "or", "not", "in", "is", "True", "False", "None"}
# Strings, which are kept unchanged; columns in backticks; and words, which may be columns named like Python keywords.
_TOKEN = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|`([^`]*)`|([^\W\d](?:\w|[^\0-\x7f])*)|\n""", re.DOTALL)


def matching_rows(expression: str, table: pd.DataFrame, key: str, notes: list[str] | None = None) -> np.ndarray:
    """Which rows of the table satisfy the expression, bool [N]. Raises ConfigError, naming `key`.

    A note is added to `notes` if some values of a column that is compared with a number are not numbers.
    """
    shown = repr(expression if len(expression) <= SHOWN else f"{expression[:SHOWN]} ...")
    names: dict[str, str] = {}
    try:
        tree = ast.parse(_with_plain_names(unicodedata.normalize("NFC", expression), names), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{key}: {shown} cannot be read ({error.args[0]}); {SYNTAX}") from None
    except (RecursionError, MemoryError):
        raise ConfigError(f"{key}: {shown} cannot be read ({DEEP}); {SYNTAX}") from None
    evaluation = _Evaluation(table, names, f"{key}: in {shown}")
    try:
        rows = evaluation.rows(tree)
    except RecursionError:
        raise ConfigError(f"{key}: {shown} cannot be read ({DEEP}); {SYNTAX}") from None
    if notes is not None:
        notes += [f"{KEY}: {note}" for note in evaluation.notes]
    return rows


def _with_plain_names(expression: str, names: dict[str, str]) -> str:
    """The expression with identifiers in place of columns that Python could not parse.

    Those are names in backticks, keywords, and words that Python normalizes. `names` receives what each stands for.
    """

    def plain(match: re.Match) -> str:
        if match[0] == "\n":  # in a condition that spans several lines of YAML
            return " "
        text, quoted, word = match.groups()
        if text is not None or word in OWN_WORDS or (word and word.isascii() and not keyword.iskeyword(word)):
            return match[0]
        identifier = f"column_{len(names)}_"
        while identifier in expression:
            identifier += "_"
        names[identifier] = word if quoted is None else quoted
        return f" {identifier} "

    return _TOKEN.sub(plain, expression).strip()


class _Evaluation:
    """Evaluates one expression, in which `names` maps identifiers to columns, and collects `notes`."""

    def __init__(self, table: pd.DataFrame, names: dict[str, str], where: str):
        self.table = table
        self.names = names
        self.where = where
        self.notes: list[str] = []
        self.columns = {unicodedata.normalize("NFC", name): name for name in reversed(table.columns)}
        self._read: dict[tuple[str, bool], tuple[np.ndarray, np.ndarray]] = {}

    def rows(self, node: ast.expr) -> np.ndarray:
        """Rows that a condition holds for, bool [N]."""
        match node:
            case ast.BoolOp(op=ast.And()):
                return np.logical_and.reduce([self.rows(value) for value in node.values])
            case ast.BoolOp(op=ast.Or()):
                return np.logical_or.reduce([self.rows(value) for value in node.values])
            case ast.UnaryOp(op=ast.Not()):
                return ~self.rows(node.operand)
            case ast.Compare():
                sides = [node.left, *node.comparators]
                pairs = zip(sides[:-1], node.ops, sides[1:], strict=True)
                return np.logical_and.reduce([self._compared(*pair) for pair in pairs])
        raise self._error(f"{self._text(node)} is not a comparison of a column with a value")

    def _compared(self, left: ast.expr, comparison: ast.cmpop, right: ast.expr) -> np.ndarray:
        if isinstance(comparison, (ast.In, ast.NotIn)):
            return self._contained(left, isinstance(comparison, ast.In), right)
        kind = type(comparison)
        if isinstance(right, ast.Name) and not isinstance(left, ast.Name):
            left, kind, right = right, MIRRORED.get(kind, kind), left
        if kind not in COMPARISONS:
            raise self._error(f"{self._text(left)} is compared with `is`; use == or in")
        value = self._value(right)
        values, known = self._column(left, isinstance(value, str))
        rows = np.zeros(len(values), dtype=bool)
        rows[known] = COMPARISONS[kind](values[known], value)
        return rows

    def _contained(self, column: ast.expr, wanted: bool, choices: ast.expr) -> np.ndarray:
        if not isinstance(choices, (ast.List, ast.Tuple, ast.Set)) or not choices.elts:
            raise self._error('`in` needs a list of values, as in ["X", "Y"]')
        # Element by element, so that an empty value is neither in a list nor outside of it.
        comparison, reduce = (ast.Eq(), np.logical_or.reduce) if wanted else (ast.NotEq(), np.logical_and.reduce)
        return reduce([self._compared(column, comparison, choice) for choice in choices.elts])

    def _column(self, node: ast.expr, as_text: bool) -> tuple[np.ndarray, np.ndarray]:
        """A column's values as text or as numbers, [N], and which of them can be compared, bool [N]."""
        if not isinstance(node, ast.Name):
            raise self._error(f"{self._text(node)} is not a column")
        written = self.names.get(node.id, node.id)
        name = written if written in self.table.columns else self.columns.get(unicodedata.normalize("NFC", written))
        if name is None:
            known = nearest_name(written, list(self.table.columns))
            raise self._error(f"no column {written[:SHOWN]!r}; {known}")
        if (name, as_text) not in self._read:
            self._read[name, as_text] = self._texts(name) if as_text else self._numbers(name)
        return self._read[name, as_text]

    def _texts(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        column = self.table[name]
        texts = [unicodedata.normalize("NFC", str(value)) for value in column]
        return np.array(texts, dtype=object), column.notna().to_numpy()

    def _numbers(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        import pandas as pd

        column = self.table[name].dropna()
        numbers = pd.to_numeric(column, errors="coerce").astype(float)
        unread = column[numbers.isna()]
        if len(unread) and len(unread) == len(column):
            raise self._error(
                f"column {name!r} is compared with a number, but holds none, only values like {unread.iloc[0]!r}; "
                "put the value in quotes to compare it as text"
            )
        if len(unread):
            self.notes.append(
                f"{len(unread)} of {len(column)} values of column {name!r} are not numbers, such as "
                f"{unread.iloc[0]!r}; images with such a value satisfy no comparison with a number"
            )
        numbers = numbers.reindex(self.table.index)
        return numbers.to_numpy(), numbers.notna().to_numpy()

    def _value(self, node: ast.expr) -> str | float:
        inner, sign = node, 1.0
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner, sign = node.operand, -1.0
        match inner:
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=str(text)) if sign > 0:
                return unicodedata.normalize("NFC", text)
            case ast.Constant(value=int(number) | float(number)):
                return sign * self._finite(number)
            case ast.Name() if self.names.get(inner.id, inner.id) in self.table.columns:
                raise self._error(f"{self._text(inner)} is also a column; compare a column with a text or a number")
        raise self._error(f"{self._text(node)} is neither a text in quotes nor a number")

    def _finite(self, value: float) -> float:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isinf(number):
            raise self._error("a number is too large to compare with")
        return number

    def _text(self, node: ast.expr) -> str:
        """A part of the expression as written, in quotes."""
        text = ast.unparse(node)
        for identifier, name in self.names.items():
            text = text.replace(identifier, name)
        return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]} ...")

    def _error(self, problem: str) -> ConfigError:
        return ConfigError(f"{self.where}, {problem}; {SYNTAX}")

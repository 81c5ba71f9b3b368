"""Conditions over the columns of the training table, as in `artist == "X" and year < 1950`.

A small part of Python's syntax, evaluated here and not by Python: `and`, `or`, `not`, comparisons of a column with a
text or a number (chained as well), `in` and `not in` with a list. A text is compared as text, a number with the
column's values read as numbers. An empty value satisfies no comparison, nor does one that is no number where a number
is asked for.
"""

from __future__ import annotations

import ast
import operator
from typing import TYPE_CHECKING

import numpy as np

from guda.errors import ConfigError, nearest_name

if TYPE_CHECKING:
    import pandas as pd

COMPARISONS = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
MIRRORED = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
SYNTAX = 'write it as in: artist == "X" and year < 1950'


def matching_rows(expression: str, table: pd.DataFrame, key: str) -> np.ndarray:
    """Which rows of the table satisfy the expression, bool [N]. Raises ConfigError that names `key`."""
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{key}: {expression!r} cannot be read ({error.args[0]}); {SYNTAX}") from None
    return _Evaluation(table, f"{key}: in {expression!r},").rows(tree)


class _Evaluation:
    def __init__(self, table: pd.DataFrame, where: str):
        self.table = table
        self.where = where

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
        raise self._error(f"{ast.unparse(node)!r} is no comparison of a column with a value")

    def _compared(self, left: ast.expr, comparison: ast.cmpop, right: ast.expr) -> np.ndarray:
        if isinstance(comparison, (ast.In, ast.NotIn)):
            return self._contained(left, isinstance(comparison, ast.In), right)
        comparison = type(comparison)
        if isinstance(right, ast.Name) and not isinstance(left, ast.Name):
            left, comparison, right = right, MIRRORED.get(comparison, comparison), left
        if comparison not in COMPARISONS:
            raise self._error(f"{ast.unparse(left)!r} is compared by `is`; use == or in")
        value = self._value(right)
        values, known = self._column(left, isinstance(value, str))
        rows = np.zeros(len(values), dtype=bool)
        rows[known] = COMPARISONS[comparison](values[known], value)
        return rows

    def _contained(self, column: ast.expr, wanted: bool, choices: ast.expr) -> np.ndarray:
        if not isinstance(choices, (ast.List, ast.Tuple, ast.Set)) or not choices.elts:
            raise self._error('`in` needs a list of values, as in ["X", "Y"]')
        # One comparison after the other, so that an empty value is in no list, and not outside of one either.
        comparison, reduce = (ast.Eq(), np.logical_or.reduce) if wanted else (ast.NotEq(), np.logical_and.reduce)
        return reduce([self._compared(column, comparison, choice) for choice in choices.elts])

    def _column(self, node: ast.expr, as_text: bool) -> tuple[np.ndarray, np.ndarray]:
        """A column's values as text or as numbers, [N], and which of them can be compared, bool [N]."""
        import pandas as pd

        if not isinstance(node, ast.Name):
            raise self._error(f"{ast.unparse(node)!r} is no column")
        if node.id not in self.table.columns:
            raise self._error(f"no column {node.id!r}; {nearest_name(node.id, list(self.table.columns))}")
        column = self.table[node.id]
        if as_text:
            return column.astype(str).to_numpy(dtype=object), column.notna().to_numpy()
        numbers = pd.to_numeric(column, errors="coerce")
        return numbers.to_numpy(dtype=np.float64), numbers.notna().to_numpy()

    def _value(self, node: ast.expr) -> str | float:
        match node:
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=str() | int() | float()):
                return node.value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float())):
                return -node.operand.value
        raise self._error(f"{ast.unparse(node)!r} is neither a text in quotes nor a number")

    def _error(self, problem: str) -> ConfigError:
        return ConfigError(f"{self.where} {problem}; {SYNTAX}")

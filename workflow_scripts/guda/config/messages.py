"""What is wrong with a configuration, in the words of who wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from guda.core.errors import ArgumentError, nearest_name

S = TypeVar("S", bound=BaseModel)

QUOTED = "expected text; put numbers and the words yes, no, on, off, and dates in quotes"
SHOWN = 100  # characters of a value

# In place of pydantic's words, which speak of Python.
_WORDS = {
    "model_type": "expected a mapping of keys",
    "dict_type": "expected a mapping of keys",
    "list_type": "expected a list, as in [a, b]",
    "string_type": QUOTED,
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "too_long": "has too many values",
    "tuple_type": "expected a list, as in [32, 32]",
    "missing": "must be given",
    "int_parsing": "expected a whole number",
    "int_parsing_size": "too large a number",
    "float_type": "expected a number, below 1e308",
    "int_from_float": "expected a whole number",
    "float_parsing": "expected a number",
    "bool_parsing": "expected true or false",
}


def explain(problem: Mapping[str, Any], section: type[BaseModel]) -> str:
    """One of pydantic's problems with a `section` in one line: the key, what was found, the nearest known name."""
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key; {nearest_name(location[-1], _known_keys(section, location[:-1]))}"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    message = _WORDS.get(problem["type"], message)
    found = problem.get("input")
    shown = f" (found {_short(found)})" if problem["type"] != "value_error" and problem["loc"] else ""
    return f"{key}: {message}{shown}" if key else message  # one about several keys names them itself


def from_arguments(section: type[S], arguments: Mapping[str, Any], prefix: str = "") -> S:
    """A section from arguments of a function that have its keys' names, after the prefix. Raises ArgumentError."""
    try:
        return section.model_validate(arguments)
    except ValidationError as error:
        raise ArgumentError("; ".join(prefix + explain(problem, section) for problem in error.errors())) from None


def _short(value: Any) -> str:
    """A value as Python writes it, but not at any length."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # of a number of thousands of digits, or of lists in lists
        return "what cannot be shown"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


def _known_keys(section: Any, location: list[str]) -> list[str]:
    for key in location:
        annotation = section.model_fields[key].annotation
        section = get_args(annotation)[0] if get_args(annotation) else annotation  # of `Section | None`, the section
    return [field.alias or name for name, field in section.model_fields.items()]

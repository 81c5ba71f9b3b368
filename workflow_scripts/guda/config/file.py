"""Configuration files: YAML, read more strictly than YAML is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from guda.core.errors import ConfigError
from guda.core.files import regular

# How numbers are written that are what they look like.
NUMBERS = {
    "tag:yaml.org,2002:int": r"[-+]?[0-9]+",
    "tag:yaml.org,2002:float": r"[-+]?([0-9]*\.?[0-9]+|[0-9]+\.)([eE].*)?",
}
NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF|nan|NaN|NAN)")  # which the settings refuse, with their keys


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping, refusing what YAML takes for something else than it looks like.

    That is a key that stands twice (the last would count), one that is no text, and a number that is not written in
    plain decimal digits: 0100 is 64 to YAML, 1:30 is 90. Raises ConfigError.
    """
    path = Path(path)
    try:
        values = yaml.load(regular(path).read_text(encoding="utf-8"), Loader=_StrictLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {_explain_yaml(error)}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not valid YAML: it is nested too deeply, or holds itself") from None
    except ValueError as error:  # of PyYAML's own conversions: a date such as 2020-13-01, a number of 5,000 digits
        raise ConfigError(f"{path}: not valid YAML: {error}; put names in quotes") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, found {type(values).__name__}")
    return values


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key stands once and is text, and numbers are what they look like."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            self._check_scalars(node, "")
        return node

    def _check_scalars(self, node: yaml.Node, key: str) -> None:
        """Raise YAMLError for a number under `key` that is not in plain decimal digits, or no whole text."""
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                self._check_scalars(value, f"{key}.{name.value}" if key else str(name.value))
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                self._check_scalars(value, key)
        elif isinstance(node, yaml.ScalarNode) and node.tag in NUMBERS and not _is_plain(node):
            made = self.construct_object(node)
            raise yaml.YAMLError(
                f"line {node.start_mark.line + 1}: {key}: {node.value} is read as {made}; write the number in plain "
                "decimal digits, or put a name in quotes"
            )
        elif any("\ud800" <= character <= "\udfff" for character in node.value):
            raise yaml.YAMLError(
                f"line {node.start_mark.line + 1}: {key} has half of a character, such as \\ud800; write it whole"
            )

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key, where = self.construct_object(key_node, deep=True), f"line {key_node.start_mark.line + 1}"
            if not isinstance(key, str):
                raise yaml.YAMLError(
                    f"{where}: the key {key_node.value} is read as {type(key).__name__}; put it in quotes"
                )
            if key in seen:
                raise yaml.YAMLError(f"{where}: the key {key!r} stands twice; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _is_plain(number: yaml.ScalarNode) -> bool:
    """Whether a number is the one that its decimal digits are; leading zeros make it octal."""
    text = number.value
    if NO_NUMBER.fullmatch(text):
        return True
    octal = number.tag.endswith("int") and re.fullmatch(r"[-+]?0[0-9]+", text) and text.strip("+-0")
    return bool(re.fullmatch(NUMBERS[number.tag], text)) and not octal


def _explain_yaml(error: yaml.YAMLError) -> str:
    """What YAML's parser says, in one line."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"

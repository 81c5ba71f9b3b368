"""Configuration files: YAML, read more strictly than YAML is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from guda.errors import ConfigError
from guda.files import regular


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping, refusing duplicate keys (plain YAML silently keeps the last) and non-text keys."""
    path = Path(path)
    try:
        values = yaml.load(regular(path).read_text(encoding="utf-8"), Loader=_StrictLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {_explain_yaml(error)}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, found {type(values).__name__}")
    return values


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key stands once and is text."""

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


def _explain_yaml(error: yaml.YAMLError) -> str:
    """What YAML's parser says, in one line."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"

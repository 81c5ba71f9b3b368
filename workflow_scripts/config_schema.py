"""Print the JSON schema of the configuration, for editors, or as a page of the documentation."""

from __future__ import annotations

import argparse
import json
from typing import Any

from guda.plan.config import Config

HEAD = """# Settings

Every key of the configuration, its default and what it is; [config.yaml](../config.yaml) says how to choose a value.
Keys of a section that stands in another have its name before theirs. This page is generated:
`python workflow_scripts/config_schema.py --page > docs/settings.md`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", action="store_true", help="Markdown, as kept in docs/settings.md")
    schema = Config.model_json_schema()
    print(page(schema) if parser.parse_args().page else json.dumps(schema, indent=2))


def page(schema: dict[str, Any]) -> str:
    """The settings of the schema, a table for each section."""
    sections = {name: rows(name, field, schema["$defs"]) for name, field in schema["properties"].items()}
    lone = [row for found in sections.values() for row in found if len(found) == 1]
    tables = {"the whole": lone} | {name: found for name, found in sections.items() if len(found) > 1}
    parts = [HEAD]
    for name, found in tables.items():
        described = schema["properties"].get(name, {}).get("description", "")
        parts.append(f"## {name}\n\n{described}\n".replace("\n\n\n", "\n"))
        parts.append("\n".join(["| key | default | what it is |", "|---|---|---|", *found]) + "\n")
    return "\n".join(parts).rstrip()


def rows(key: str, field: dict[str, Any], sections: dict[str, Any]) -> list[str]:
    """Rows of a table for a key, or for those of the section that it stands for."""
    section = section_of(field, sections)
    if section is not None:
        named = section["properties"].items()
        return [row for name, each in named for row in rows(f"{key}.{name}", each, sections)]
    default = json.dumps(field["default"]) if "default" in field else "needed"
    described = " ".join(field.get("description", "").split()).replace("|", "\\|")
    return [f"| `{key}` | `{default}` | {described} |"]


def section_of(field: dict[str, Any], sections: dict[str, Any]) -> dict[str, Any] | None:
    """The section that a field holds, also where it may hold none; None for a value or for many sections by name."""
    for each in [field, *field.get("anyOf", [])]:
        if "$ref" in each and "properties" in (found := sections[each["$ref"].split("/")[-1]]):
            return found
    return None


if __name__ == "__main__":
    main()

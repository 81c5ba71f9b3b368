"""Which training samples a group has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from guda.artifacts import CURE, check_spec, read_json, write_json
from guda.errors import ArtifactError, ConfigError, DataError, nearest_name
from guda.specs import GroupSpec, digest_lines

if TYPE_CHECKING:
    import pandas as pd

RESERVED = {"base", "calibration", "ceiling", "logo"}
MAX_LENGTH = 100  # bytes; file systems take 255, and suffixes are added
_NAME = re.compile(r"\w[\w .,+()-]*(?<![ .])")


def members_by_group(table: pd.DataFrame, group_by: str, only: list[str] | None = None) -> dict[str, list[str]]:
    """Ids of each group's samples: the groups are the values of column `group_by`; rows without a value are in none.

    With `only`, just these values are groups. Groups are sorted by name; ids keep the table's order. Raises ConfigError
    for an unknown column or value, DataError for groups that cannot be attributed to (fewer than two, a name that is no
    file name).
    """
    if group_by not in table.columns:
        raise ConfigError(
            f"data.group_by: no column {group_by!r} in the training table; "
            f"{nearest_name(group_by, list(table.columns))}"
        )
    labelled = table.dropna(subset=group_by)
    groups = {name: list(rows) for name, rows in labelled["id"].groupby(labelled[group_by].astype(str), sort=True)}
    for name in only or []:
        if name not in groups:
            raise ConfigError(
                f"data.groups: column {group_by!r} has no value {name!r}; {nearest_name(name, list(groups))}"
            )
    if only is not None:
        groups = {name: members for name, members in groups.items() if name in only}
    if len(groups) < 2:
        by = "data.group_by" if only is None else "data.groups and data.group_by"
        raise DataError(f"{by}: column {group_by!r} gives {len(groups)} group(s); attribution needs two")
    for name in groups:
        _check_name(name, group_by)
    folded = {name.casefold() for name in groups}
    if len(folded) < len(groups):
        raise DataError(f"data.group_by: values of column {group_by!r} differ in case only; rename one of them")
    return groups


def write_members(path: str | Path, spec: GroupSpec, members: list[str]) -> None:
    """Write a group's file. Raises DataError when the members are not those that the spec was made for."""
    if digest_lines(members) != spec.members:
        raise DataError(f"group {spec.group!r}: the dataset changed while snakemake was running; run it again")
    write_json(path, {"spec": spec.canonical(), "members": members})


def read_members(path: str | Path, spec_digest: str) -> set[str]:
    """Ids of a group's members. Raises ArtifactError when the file is damaged or not of the expected spec."""
    value = read_json(path)
    spec, members = (value.get("spec"), value.get("members")) if isinstance(value, dict) else (None, None)
    if not (isinstance(spec, str) and isinstance(members, list) and all(isinstance(each, str) for each in members)):
        raise ArtifactError(f"{path}: not a group's file. {CURE}")
    check_spec(path, spec, spec_digest)
    if digest_lines(members) != GroupSpec.parse(spec).members:
        raise ArtifactError(f"{path}: its members do not match its spec; the file was damaged. {CURE}")
    return set(members)


def _check_name(name: str, group_by: str) -> None:
    where = f"data.group_by: the group name {name[:MAX_LENGTH]!r} in column {group_by!r}"
    if name.casefold() in RESERVED or name.casefold().startswith("logo-"):
        raise DataError(f"{where} is reserved; rename it")
    if len(name.encode()) > MAX_LENGTH:
        raise DataError(f"{where} has {len(name)} characters; use {MAX_LENGTH} at most (fewer beyond plain ASCII)")
    if not _NAME.fullmatch(name):
        raise DataError(
            f"{where} cannot be a file name; use letters, digits, spaces and _ . , + - ( ), "
            "beginning with a letter or digit"
        )

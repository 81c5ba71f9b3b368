"""The training samples in each group."""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from guda.config import Data, NoisyPartition
from guda.core.artifacts import CURE, check_spec, read_json, write_json
from guda.core.errors import ArtifactError, ConfigError, DataError, nearest_name
from guda.core.paths import WILDCARDS, group_file
from guda.core.seeding import derive_seed
from guda.data.conditions import matching_rows
from guda.specs import ExclusionSpec, GroupSpec, digest_lines

if TYPE_CHECKING:
    import pandas as pd

UNSHOWN = {"Cc", "Cs", "Zl", "Zp"}  # Unicode's categories of control characters, surrogates, line and paragraph breaks


def read_groups(table: pd.DataFrame, settings: Data, notes: list[str] | None = None) -> dict[str, list[str]]:
    """Ids of each group's samples, by the section `data`: groups sorted by name, ids in the table's order.

    Groups come from the values of a column, from conditions over columns, or from a table of memberships; they may
    overlap and leave samples out. Notes for the user are added to `notes`. Raises ConfigError for an unknown name, and
    DataError for groups that cannot be attributed to (fewer than two, one without images, an unprintable name).
    """
    if settings.conditions is not None:
        key, groups = "data.conditions", members_by_condition(table, settings.conditions, notes)
    elif settings.memberships is not None:
        key, groups = "data.memberships", read_memberships(settings, table)
    else:
        key = f"data.group_by: column {settings.group_by!r}"
        groups = members_by_value(table, str(settings.group_by))
    usual = Data.model_fields["group_by"].default
    if settings.grouped_by is None and settings.group_by not in (None, usual) and notes is not None:
        notes.append(f"{key} defines the groups, and data.group_by, {settings.group_by!r}, is ignored; set it to null")
    named, source = settings.groups, "data.groups"
    if settings.groups_from is not None:
        named, source = _named_by_table(settings.groups_from, groups), "data.groups_from"
    for name in named or []:
        if name not in groups:
            raise ConfigError(f"{source}: {key} gives no group {name!r}; {nearest_name(name, list(groups))}")
    if named is not None:
        key, groups = f"{source} and {key}", {name: groups[name] for name in sorted(set(named))}
    if len(groups) < 2:
        raise DataError(f"{key} gives {len(groups)} group(s); attribution needs two")
    for name, members in groups.items():
        if not members:
            raise DataError(
                f"{key}: group {name!r} has no training images; remove it, or list the others in data.groups"
            )
    _check_names(groups, key)
    if settings.noisy_partition is not None:
        groups = noisy_partition(groups, settings.noisy_partition)
    place = {sample_id: row for row, sample_id in enumerate(table["id"])}
    return {name: sorted(members, key=place.__getitem__) for name, members in groups.items()}


def _named_by_table(path: str, groups: Collection[str]) -> list[str]:
    """The names in a table's column `group`, spelled as in `groups` where they match. Raises DataError."""
    from guda.data.datasets.table_files import read_table

    table = read_table(Path(path), "data.groups_from")
    if "group" not in table.columns:
        raise DataError(f"data.groups_from: {path!r} has no column 'group'; found {', '.join(table.columns)}")
    outer = {name.strip(): name for name in groups}  # values of a table are stripped of spaces
    return [name if name in groups else outer.get(name, name) for name in table["group"].dropna().astype(str)]


def members_by_value(table: pd.DataFrame, group_by: str) -> dict[str, list[str]]:
    """One group per value of the column `group_by`. Rows without a value are in no group."""
    if group_by not in table.columns:
        raise ConfigError(
            f"data.group_by: no column {group_by!r} in the training table; "
            f"{nearest_name(group_by, list(table.columns))}"
        )
    labeled = table.dropna(subset=group_by)
    return {name: list(rows) for name, rows in labeled["id"].groupby(labeled[group_by].astype(str), sort=True)}


def members_by_condition(
    table: pd.DataFrame, conditions: dict[str, str], notes: list[str] | None = None
) -> dict[str, list[str]]:
    """One group per condition: the rows that satisfy it (see `expressions`)."""
    groups = {}
    for name, condition in sorted(conditions.items()):
        groups[name] = list(table["id"][matching_rows(condition, table, f"data.conditions.{name}", notes)])
        if not groups[name]:
            raise DataError(f"data.conditions.{name}: no training image satisfies {condition[:200]!r}; change it")
    return groups


def read_memberships(settings: Data, table: pd.DataFrame) -> dict[str, list[str]]:
    """Groups from a table of memberships with columns `id` (for files also `file` or `file_name`) and `group`.

    If the training table holds only part of the dataset, ids that it lacks are ignored, and groups may be empty. Raises
    DataError.
    """
    from guda.data.datasets.file_names import FileNames, with_ids
    from guda.data.datasets.table_files import read_table

    where = f"data.memberships: {settings.memberships!r}"
    rows = with_ids(read_table(Path(str(settings.memberships)), "data.memberships"))
    for column in ("id", "group"):
        if column not in rows.columns:
            raise DataError(f"{where} has no column {column!r}; found {', '.join(rows.columns)}")
        for number in rows.index[rows[column].isna()][:1]:
            raise DataError(f"{where}: data row {number + 1} has no {column}; fill it in")
    names = FileNames(table["id"], Path(settings.folder) if settings.folder else None)
    rows["id"] = [names.find(name, where) or name for name in rows["id"]]
    for _, row in rows[rows.duplicated(["id", "group"])].head(1).iterrows():
        raise DataError(f"{where} lists {row['id']!r} in {row['group']!r} twice; keep one row")
    known = rows["id"].isin(table["id"])
    whole = settings.subset is None and settings.held_out is None and not settings.kept_aside
    if whole and not known.all():
        missing = rows["id"][~known].iloc[0]
        raise DataError(
            f"{where} lists {missing!r}, but there is no such training image; use the ids in data/table.csv of the "
            f"results, {names.nearest(missing)}"
        )
    return {str(name): list(ids[known[ids.index]]) for name, ids in rows.groupby("group", sort=True)["id"]}


def noisy_partition(groups: dict[str, list[str]], settings: NoisyPartition) -> dict[str, list[str]]:
    """Groups of the same sizes with `fraction` of each one's images moved to others, in blocks (GUDA, section 5).

    A hash of their ids decides which images move. A group with more blocks to give than all others together gives only
    as many as those. Raises DataError for groups that overlap or are too small.
    """
    if len(set().union(*groups.values())) < sum(map(len, groups.values())):
        raise DataError("data.noisy_partition: images can only be moved between groups that do not overlap; unset it")
    size, blocks = settings.block_size, {}
    for name, members in groups.items():
        leaving = sorted(members, key=lambda sample_id: derive_seed("noisy", settings.seed, sample_id))
        n_blocks = round(settings.fraction * len(members) / size)
        blocks[name] = [leaving[start : start + size] for start in range(0, n_blocks * size, size)]
    largest = max(blocks, key=lambda name: len(blocks[name]))
    del blocks[largest][sum(map(len, blocks.values())) - len(blocks[largest]) :]
    givers = [name for name in blocks for _ in blocks[name]]
    if not givers:
        raise DataError(
            f"data.noisy_partition: {settings.fraction} of a group is less than half a block of {size} images; "
            "lower block_size"
        )
    moved = {
        sample_id: taker
        for block, taker in zip(itertools.chain(*blocks.values()), _takers(givers, settings.seed), strict=True)
        for sample_id in block
    }
    noisy = {name: [sample_id for sample_id in members if sample_id not in moved] for name, members in groups.items()}
    for sample_id, taker in moved.items():
        noisy[taker].append(sample_id)
    return noisy


def _takers(givers: list[str], seed: int) -> list[str]:
    """The names shuffled so that none stays in its place; no name may fill more than half of the list."""
    n = len(givers)
    takers = [givers[row] for row in sorted(range(n), key=lambda row: derive_seed("taker", seed, row))]
    for row in range(n):
        if takers[row] == givers[row]:
            name = givers[row]
            other = next(
                each % n for each in range(row + 1, row + n) if name not in (givers[each % n], takers[each % n])
            )
            takers[row], takers[other] = takers[other], takers[row]
    return takers


def group_sizes(groups: dict[str, Collection[str]]) -> pd.DataFrame:
    """One row per group: group, n_images, n_alone (images that are in no other group)."""
    import pandas as pd

    holders = Counter(itertools.chain(*groups.values()))
    rows = [(name, len(ids), sum(holders[each] == 1 for each in ids)) for name, ids in groups.items()]
    return pd.DataFrame(rows, columns=["group", "n_images", "n_alone"])


def repeated_images(table: pd.DataFrame, groups: dict[str, list[str]]) -> list[str]:
    """A note on byte-identical copies in the training table; empty if there are none.

    Copies in another group (or in none) matter: a model trained without one of the groups still learns from the copy.
    """
    ids_of = table["id"][table["sha256"].duplicated(keep=False)].groupby(table["sha256"], sort=False).agg(list)
    repeated = set(itertools.chain(*ids_of))
    holders: dict[str, list[str]] = {sample_id: [] for sample_id in repeated}
    for name, members in groups.items():
        for sample_id in repeated.intersection(members):
            holders[sample_id].append(name)
    elsewhere = [ids for ids in ids_of if len({tuple(holders[sample_id]) for sample_id in ids}) > 1]
    within = sum(map(len, ids_of)) - sum(map(len, elsewhere))
    found = []
    if elsewhere:
        first = elsewhere[0][0]
        other = next(each for each in elsewhere[0] if holders[each] != holders[first])
        pair = " and ".join(f"{each!r} ({', '.join(holders[each]) or 'in no group'})" for each in (first, other))
        found.append(
            f"{sum(map(len, elsewhere))} images have a byte-identical copy in other groups or in none, such as {pair}: "
            "a model trained without one still learns from the other"
        )
    if within:
        found.append(f"{within} images have a byte-identical copy in their own groups")
    return ["; ".join(found)] if found else []


def write_members(path: str | Path, spec: GroupSpec | ExclusionSpec, members: list[str]) -> None:
    """Write the file of a group or of an exclusion.

    Raises DataError if the members are not those that the spec was made for.
    """
    if digest_lines(members) != spec.members:
        raise DataError(f"{Path(path).stem!r}: the dataset changed while snakemake was running; run it again")
    write_json(path, {"spec": spec.canonical(), "members": members})


def read_members(path: str | Path, spec_digest: str | None) -> set[str]:
    """Ids of the members of a group or of an exclusion.

    Raises ArtifactError if the file is damaged or not of the expected spec (None: any spec).
    """
    value = read_json(path)
    spec, members = (value.get("spec"), value.get("members")) if isinstance(value, dict) else (None, None)
    if not (isinstance(spec, str) and isinstance(members, list) and all(isinstance(each, str) for each in members)):
        raise ArtifactError(f"{path}: not a group's file. {CURE}")
    check_spec(path, spec, spec_digest)
    if f'"members":"{digest_lines(members)}"' not in spec:
        raise ArtifactError(f"{path}: its members do not match its spec; the file was damaged. {CURE}")
    return set(members)


def _check_names(names: Iterable[str], key: str) -> None:
    """Raise DataError for a name that cannot be shown on one line, or that would share its files with another group."""
    names_of: dict[str, str] = {}
    for name in names:
        bad = [each for each in name if unicodedata.category(each) in UNSHOWN]
        if bad or not name.strip():
            found = f"contains {bad[0]!r}" if bad else "is blank"
            raise DataError(
                f"{key}: the group name {name[:100]!r} {found}; write it in visible characters, on one line"
            )
        if name in WILDCARDS:
            raise DataError(f"{key}: the group name {name!r} is a wildcard of the workflow's rules; rename it")
        other = names_of.setdefault(group_file(name), name)
        if other != name:
            raise DataError(
                f"{key}: the group names {other!r} and {name!r} would share their files; rename one of them"
            )

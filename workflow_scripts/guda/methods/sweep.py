"""Section `sweep`: settings with several values to try."""

from __future__ import annotations

import itertools
from typing import Any

from pydantic import Field, ValidationError, model_validator

from guda.config.messages import explain
from guda.config.scoring import StepSchedule
from guda.config.section import Section
from guda.core.errors import nearest_name
from guda.methods.similarity.plan import Nearest

Grids = list[dict[str, Any]]


class Sweep(Section):
    """Lists of grids: mappings from settings to a value or a list of values, all combinations of which are tried."""

    unlearn: Grids = Field(
        [],
        description="Settings of `unlearn`, or of `text_to_image.anchors`: variants of guda, each with its own "
        "models. They take precedence over unlearn.overrides.",
    )
    elbo_steps: Grids = Field(
        [],
        description="Settings of `elbo.steps`, for guda and each variant above; the oracle's scores stay. Steps that "
        "are already computed cost nothing.",
    )
    nearest: Grids = Field([], description="Settings of `attribution.nearest`: variants of nearest.")

    @model_validator(mode="after")
    def _keys_are_settings(self) -> Sweep:
        sections: dict[str, type[Section]] = {"elbo_steps": StepSchedule, "nearest": Nearest}
        for name, section in sections.items():
            check_keys(name, getattr(self, name), section)
        return self


def check_keys(name: str, grids: Grids, section: type[Section]) -> None:
    """Raise ValueError for a key of the section's list `name` that is not a setting."""
    for key in itertools.chain(*grids):
        if key not in section.model_fields:
            raise ValueError(f"{name}.{key}: unknown key; {nearest_name(key, list(section.model_fields))}")


def combinations(grids: Grids, settings: Section) -> list[dict[str, Any]]:
    """Every combination of the grids' values, without repeats, validated by `settings` and in its key order.

    Raises ValueError for an invalid value.
    """
    found = []
    for grid in grids:
        choices = [values if isinstance(values, list) else [values] for values in grid.values()]
        for values in itertools.product(*choices):
            combination = dict(zip(grid, values, strict=True))
            try:
                varied = type(settings).model_validate(settings.model_dump() | combination)
            except ValidationError as error:
                raise ValueError(explain(error.errors()[0], type(settings))) from None
            found.append({key: getattr(varied, key) for key in type(settings).model_fields if key in combination})
    return [each for index, each in enumerate(found) if each not in found[:index]]

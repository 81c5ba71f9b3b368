"""What all sections of the configuration share."""

from __future__ import annotations

import os.path
from typing import Annotated, Any, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from guda.config.messages import QUOTED

LARGEST = 2**63  # whole numbers from here on fit no array

Seed = Annotated[int, Field(ge=0, lt=LARGEST)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
# A file or folder, or the hub's name of one: `~` and `~name` at its beginning are the home folder, as in a shell.
Location = Annotated[str, AfterValidator(os.path.expanduser)]


class Section(BaseModel):
    """A mapping of the configuration. Unknown keys are refused; values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_values_are_no_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = _kinds(cls.model_fields[str(info.field_name)].annotation)
        # Of a mapping to texts pydantic refuses it, with the key.
        mapping = isinstance(value, dict) and str not in kinds and any(get_origin(kind) is dict for kind in kinds)
        entries = _entries(list(value.values()) if mapping else value)
        if not kinds & {bool, Any} and any(isinstance(entry, bool) for entry in entries):
            expected = QUOTED if str in kinds else "expected another kind of value than true or false"
            raise ValueError(f"{expected} (found {value})")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _numbers_fit(cls, value: Any) -> Any:
        if any(isinstance(entry, int) and abs(entry) >= LARGEST for entry in _entries(value)):
            raise ValueError("too large a number; 2^63 - 1 is the largest")
        return value


def _entries(value: Any) -> list[Any]:
    """The value itself, or those in a list."""
    return [inner for entry in value for inner in _entries(entry)] if isinstance(value, list | tuple) else [value]


def _kinds(annotation: Any) -> set[Any]:
    """A type and those that its values are made of; the keys of a mapping are texts."""
    parts = get_args(annotation)
    return {annotation}.union(*map(_kinds, parts[1:] if get_origin(annotation) is dict else parts))

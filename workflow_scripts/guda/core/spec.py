"""The base of all specs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from guda.core.errors import GudaError
from guda.core.json_text import parse_json


def digest(text: str | bytes) -> str:
    """20 hex digits of SHA-256."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:20]


def digest_lines(lines: Iterable[str]) -> str:
    """Digest of a list of lines, in order."""
    return digest("\n".join(lines))


class Spec(BaseModel):
    """Base of all specs: the canonical text contains `stage` and `version` besides the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    stage: ClassVar[str]
    version: ClassVar[int]

    def canonical(self) -> str:
        """The canonical JSON text of this spec: sorted keys, no spaces."""
        values = self.model_dump(mode="json") | {"stage": self.stage, "version": self.version}
        return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def digest(self) -> str:
        return digest(self.canonical())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a canonical text, as given to a stage's --spec. Raises GudaError."""
        problem = f"--spec is not a valid spec of stage {cls.stage}"
        try:
            values = parse_json(text)
        except ValueError as error:
            raise GudaError(f"{problem}: not JSON ({error})") from None
        if not isinstance(values, dict):
            raise GudaError(f"{problem}: expected a JSON object, found {text[:40]}")
        stage, version = values.pop("stage", None), values.pop("version", None)
        if (stage, version) != (cls.stage, cls.version):
            raise GudaError(f"{problem}: this is stage {stage} version {version}, not {cls.stage} {cls.version}")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
            raise GudaError(f"{problem}: {'; '.join(lines)}") from None


def parse_any(kinds: Iterable[type[Spec]], text: str) -> Any:
    """Read the canonical text of one of several kinds of specs, distinguished by their stage. Raises GudaError."""
    first, *others = kinds
    try:
        stage = parse_json(text)["stage"]
    except (ValueError, LookupError, TypeError):
        return first.parse(text)
    return next((kind for kind in others if kind.stage == stage), first).parse(text)

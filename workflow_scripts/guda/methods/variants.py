"""Variants of methods: every combination of the values listed in the section `sweep`. Torch-free.

A variant's name contains its settings, as in guda@steps=40,elbo.first=300, and determines where its files are: models
with other unlearning settings under sweep-steps=40/, ELBO terms at other steps under elbo@first=300/. Files shared with
the configured method have no folder of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from guda.methods.sweep import combinations

if TYPE_CHECKING:
    from guda.plan.config import Config

GUDA, NEAREST = "guda", "nearest"
ELBO = "elbo."


@dataclass(frozen=True)
class Variant:
    """A method with settings that override the configured ones."""

    method: str
    unlearn: dict[str, Any] = field(default_factory=dict)
    elbo_steps: dict[str, Any] = field(default_factory=dict)
    nearest: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that differ, by column name."""
        return self.unlearn | {ELBO + key: value for key, value in self.elbo_steps.items()} | self.nearest

    @property
    def name(self) -> str:
        return f"{self.method}@{_text(self.settings)}" if self.settings else self.method

    @property
    def operator(self) -> str:
        """Folder of the variant's models under models/."""
        return f"sweep-{_text(self.unlearn)}" if self.unlearn else GUDA

    @property
    def schedule(self) -> str:
        """Suffix of the variant's folder of ELBO terms after `elbo`."""
        return f"@{_text(self.elbo_steps)}" if self.elbo_steps else ""


def variants(config: Config) -> list[Variant]:
    """All variants, with the configured settings first; none for a method without settings to try."""
    sweep, found = config.sweep, []
    if sweep.unlearn or sweep.elbo_steps:
        found += [
            Variant(GUDA, unlearn=unlearn, elbo_steps=elbo_steps)
            for unlearn in [{}, *combinations(sweep.unlearn, config.unlearning)]
            for elbo_steps in [{}, *combinations(sweep.elbo_steps, config.elbo.steps)]
        ]
    if sweep.nearest:
        nearest = combinations(sweep.nearest, config.attribution.nearest)
        found += [Variant(NEAREST, nearest=settings) for settings in [{}, *nearest]]
    return found


def shown_settings(config: Config, found: list[Variant]) -> dict[str, dict[str, Any]]:
    """Each variant's settings, by its name: all settings that vary among its method's variants."""
    elbo_steps = {ELBO + key: value for key, value in config.elbo.steps}
    configured = {GUDA: dict(config.unlearning) | elbo_steps, NEAREST: dict(config.attribution.nearest)}
    shown = {}
    for variant in found:
        differing = {key for other in found if other.method == variant.method for key in other.settings}
        settings = configured[variant.method] | variant.settings
        shown[variant.name] = {key: value for key, value in settings.items() if key in differing}
    return shown


def parts_of(name: str) -> tuple[str, str, str]:
    """A variant's method, operator and schedule, parsed from its name."""
    method, _, text = name.partition("@")
    parts = text.split(",") if text else []
    unlearn = ",".join(part for part in parts if not part.startswith(ELBO))
    elbo_steps = ",".join(part.removeprefix(ELBO) for part in parts if part.startswith(ELBO))
    return method, f"sweep-{unlearn}" if unlearn else GUDA, f"@{elbo_steps}" if elbo_steps else ""


def _text(settings: dict[str, Any]) -> str:
    return ",".join(f"{key}={'null' if value is None else value}" for key, value in settings.items())

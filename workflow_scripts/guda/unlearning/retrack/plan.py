"""ReTrack: unlearning by redirecting the denoising trajectories of forget images to retained neighbors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from guda.config.messages import explain
from guda.config.section import Location, Seed
from guda.config.training import WindowedOptimization
from guda.core.errors import ConfigError, nearest_name
from guda.core.records import FORWARD_AND_BACKWARD
from guda.specs import PixelUnlearnedSpec
from guda.unlearning.operator import Operator

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class Unlearning(WindowedOptimization):
    """ReTrack: forget images are redirected to the denoising directions of their retained neighbors."""

    steps: PositiveInt = Field(
        60, description="Optimizer steps per group. Too few leave the group in; too many damage the rest."
    )
    batch_size: PositiveInt = Field(
        128,
        description="Forget images, and as many retain images, per step. Agreement with retraining improves with the "
        "number of images, steps times this: see docs/results.md.",
    )
    learning_rate: PositiveFloat = Field(
        3.0e-3,
        description="Peak learning rate of AdamW; choose it together with `steps`. If it is too high the models break"
        " down: see `health_worst` in metrics.csv.",
    )
    forget_weight: float = Field(
        0.1, ge=0, description="lambda, the weight of the forget term; the preserve term has weight 1."
    )
    n_neighbors: PositiveInt = Field(
        10, description="K, the number of nearest retain images that each forget image is redirected to."
    )
    preserve: Literal["denoising", "distillation"] = Field(
        "denoising",
        description="Preserve term on retain images: denoising (their own noise) or distillation (the base model's "
        "predictions). Denoising is better where groups overlap in content: it lets go of what only the "
        "group supported.",
    )
    bandwidth: float = Field(
        0.14,
        ge=0,
        description="Standard deviation of the Gaussian by which the base model is taken to smooth the training images,"
        " in the network's range of -1 to 1. At diffusion steps with less noise than that, images are redirected "
        "less, since a retrained model would hardly differ there. 0: redirected in full, as published.",
    )
    max_correction_norm: PositiveFloat | None = Field(
        None,
        description="Clips each image's redirection to this norm. null: no clipping, which otherwise removes most of "
        "the signal.",
    )


class Unlearn(Unlearning):
    seeds: list[Seed] = Field(
        [],
        description="Several unlearning seeds, as in [0, 1, 2], for every method that unlearns: each group is "
        "unlearned once per seed, scores are averaged, and reliability.csv reports how well the runs "
        "agree. They replace `seed` here, in text_to_image.anchors and in the sections of other methods. "
        "Models of the first seed are shared with a run of that seed alone. []: once, with `seed`.",
    )
    overrides: dict[str, dict[str, Any]] = Field(
        {},
        description="Settings for single groups, as in {amber: {steps: 100}}; only those groups are unlearned again.",
    )

    imported: dict[str, Location] = Field(
        {},
        alias="import",
        description="Models that unlearned a group elsewhere, as in {amber: path/to/diffusers/folder}, or Hub ids "
        "OWNER/NAME@COMMIT; used unchanged.",
    )

    def for_group(self, group: str = "", variation: dict[str, Any] | None = None) -> Unlearning:
        """The section's settings for one group, with the group's overrides and a variation applied."""
        settings = self.model_dump(exclude={"seeds", "overrides", "imported"}) | self.overrides.get(group, {})
        return Unlearning.model_validate(settings | (variation or {}))

    @property
    def runs(self) -> dict[str, dict[str, Any]]:
        """The settings specific to each run of unlearning, by the suffix of its operators' names: '' for the first."""
        seeds = [{"seed": seed} for seed in self.seeds] or [{}]
        return {f"-seed-{seed['seed']}" if number else "": seed for number, seed in enumerate(seeds)}

    @model_validator(mode="after")
    def _seeds_are_all(self) -> Unlearn:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {self.seeds} repeats a seed; two models of one seed are the same model")
        named = [f"overrides.{group}.seed" for group, settings in self.overrides.items() if "seed" in settings]
        if self.seeds and (named := named or [f"import.{group}" for group in self.imported]):
            raise ValueError(
                f"seeds {self.seeds} are those of all groups, but {named[0]} is given; leave it out, or `seeds`"
            )
        return self

    @model_validator(mode="after")
    def _overrides_are_settings(self) -> Unlearn:
        for group, settings in self.overrides.items():
            for key in settings:
                if key not in Unlearning.model_fields:
                    known = nearest_name(key, list(Unlearning.model_fields))
                    raise ValueError(f"overrides.{group}.{key}: unknown key; {known}")
            try:
                self.for_group(group)
            except ValidationError as error:
                raise ValueError(f"overrides.{group}.{explain(error.errors()[0], Unlearning)}") from None
        return self


class UnlearnSpec(PixelUnlearnedSpec):
    stage, version = "unlearn", 1
    cure = "lower learning_rate, steps or forget_weight in `unlearn`"
    earlier = (*PixelUnlearnedSpec.earlier, {"bandwidth": 0})
    method: str
    neighbors: str
    settings: Unlearning


class ReTrack(Operator[UnlearnSpec]):
    """Redirects each forget image to its nearest retained images."""

    kind = UnlearnSpec

    def check(self, experiment: Experiment) -> None:
        n_images = len(experiment.dataset.table)
        for group, members in experiment.groups.items():
            retained, wanted = n_images - len(members), self.settings(experiment, group).n_neighbors
            if wanted > retained:
                raise ConfigError(
                    f"unlearn.n_neighbors is {wanted}, but without group {group!r} only {retained} images "
                    "are left; lower it"
                )

    def settings(self, experiment: Experiment, group: str) -> Unlearning:
        return experiment.config.unlearn.for_group(group, self.variation)

    def spec(self, experiment: Experiment, group: str) -> UnlearnSpec:
        neighbors = experiment.neighbors_spec(group, self.settings(experiment, group).n_neighbors).digest()
        return self.of_pixels(experiment, group, method="guda", neighbors=neighbors)

    def files(self, experiment: Experiment, group: str) -> list[str]:
        name = experiment.neighbors_name(self.settings(experiment, group), group)
        return [experiment.paths.neighbors(name)]


def evaluations_per_step(settings: Unlearning) -> int:
    """Evaluations of forget and retained images, and of the base model if `preserve` needs it."""
    teacher = 1 if settings.preserve == "distillation" else 0
    return settings.batch_size * (2 * FORWARD_AND_BACKWARD + teacher)

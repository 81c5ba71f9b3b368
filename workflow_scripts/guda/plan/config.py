"""The experiment's configuration: every key with its type, default and meaning.

`config.yaml` documents how to choose each value; `rules/schemas/config.schema.json` is generated from here. Methods and
operators declare their sections in their own folders, above `guda.config`, so the whole is put together here.
Torch-free, since the workflow reads it each time it plans.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from guda.config import (
    Data,
    Elbo,
    Execution,
    Figure,
    Lds,
    Likelihood,
    Metrics,
    Model,
    NoiseSchedule,
    Oracle,
    Page,
    Queries,
    Removal,
    Screen,
    Training,
    UNet,
)
from guda.config.messages import explain
from guda.config.section import Location, Section
from guda.config.text_to_image import TextModels
from guda.config.training import WindowedOptimisation
from guda.core.errors import ConfigError
from guda.data.queries import source_of
from guda.methods.settings import Attribution
from guda.methods.sweep import Sweep, check_keys, combinations
from guda.unlearning.anchors.plan import Anchors
from guda.unlearning.retrack.plan import Unlearn, Unlearning

MAX_QUERIES_PER_BUCKET = 5000  # ids of generated queries stand on a command line, which takes 128 KiB


class TextToImage(TextModels):
    anchors: Anchors = Field(Anchors(), description="Unlearning of each group by anchor prompts (GUDA-C).")


class Config(Section):
    results: Location = Field("results", min_length=1, description="Folder of all outputs.")
    data: Data = Field(Data(), description="Training images and their groups.")
    model: Model = Field(Model(), description="The base model, where it is not trained here.")
    unet: UNet = Field(UNet(), description="The denoising network.")
    noise_schedule: NoiseSchedule = Field(NoiseSchedule(), description="The diffusion process.")
    text_to_image: TextToImage | None = Field(
        None, description="A Stable Diffusion pipeline in place of an unconditional network; null: none."
    )
    training: Training = Field(Training(), description="Training of the base model and of every oracle model.")
    oracle: Oracle = Field(Oracle(), description="Leave-one-group-out retraining.")
    unlearn: Unlearn = Field(Unlearn(), description="Unlearning of each group from the base model.")
    queries: Queries = Field(Queries(), description="The images to attribute.")
    elbo: Elbo = Field(Elbo(), description="Likelihood bounds of queries under each model.")
    likelihood: Likelihood = Field(Likelihood(), description="The bounds compared with the likelihood itself.")
    methods: list[str] = Field(
        ["guda", "guda_uncalibrated", "kernel", "ensemble", "nearest", "random"],
        min_length=1,
        description="Methods in the tables.",
    )
    attribution: Attribution = Field(Attribution(), description="Settings of single methods.")
    metrics: Metrics = Field(Metrics(), description="Agreement with the oracle.")
    lds: Lds = Field(Lds(), description="Linear datamodeling score: models trained on random subsets of the groups.")
    removal: Removal = Field(Removal(), description="Counterfactual removal of what a method puts first.")
    screen: Screen | None = Field(None, description="Groups that are worth unlearning, for screen.csv; null: not made.")
    sweep: Sweep = Field(Sweep(), description="Other settings to try, for sweep.csv.")
    figure: Figure = Field(Figure(), description="The figure of queries and their top groups.")
    page: Page = Field(Page(), description="The page of all answers.")
    execution: Execution = Field(Execution(), description="Resources and batching.")

    @field_validator("results")
    @classmethod
    def _results_is_a_path(cls, value: str) -> str:
        if not value.isprintable() or set("{}<>") & set(value):
            raise ValueError(f"{value!r} holds a brace, < or >, or an invisible character; choose another name")
        if str(PurePath(value)).startswith("-"):
            raise ValueError(f"{value!r} begins with a dash, as options of programs do; choose another name")
        return value

    @model_validator(mode="after")
    def _cross_checks(self) -> Config:
        if self.elbo.steps.last >= self.noise_schedule.num_train_timesteps:
            raise ValueError(
                f"elbo.steps.last is {self.elbo.steps.last}, but the noise schedule's last step is "
                f"{self.noise_schedule.num_train_timesteps - 1}; choose a smaller one"
            )
        self._check_windows()
        self._check_query_source()
        source = source_of(self.data, self.queries)
        if source == "generated":
            self._check_count(self.queries)
        if source in ("generated", "exemplars"):
            self._check_sampling(self.queries, self.noise_schedule.num_train_timesteps)
        if source == "exemplars" and self.text_to_image is not None:
            raise ValueError(
                "queries.source is exemplars, but text-to-image models are not tuned on any; choose another source"
            )
        if self.data.kept_aside and self.text_to_image is not None:
            raise ValueError(
                f"data.kept_aside is {self.data.kept_aside}, but of text-to-image models the loss on such images is "
                "not measured; leave it out"
            )
        if len(set(self.methods)) != len(self.methods):
            raise ValueError(f"methods: {self.methods} names a method twice; keep one")
        self._check_training("conditional", self.attribution.conditional.training)
        self._check_training("classifier", self.attribution.classifier.training)
        self._check_retrained()
        self._check_screen()
        self._check_sweep()
        return self

    @property
    def unlearning(self) -> Unlearning | Anchors:
        """Settings by which guda unlearns groups that have none of their own."""
        return self.unlearn.for_group() if self.text_to_image is None else self.text_to_image.anchors

    def _check_windows(self) -> None:
        sections: dict[str, Any] = {"unlearn": self.unlearn}
        sections |= {f"unlearn.overrides.{group}": self.unlearn.for_group(group) for group in self.unlearn.overrides}
        sections |= {f"attribution.{name}": section for name, section in self.attribution}
        if self.text_to_image is not None:
            sections["text_to_image.anchors"] = self.text_to_image.anchors
        end = self.noise_schedule.num_train_timesteps - 1
        for name, section in sections.items():
            window = section.window if isinstance(section, WindowedOptimisation) else ()
            for key, step in zip(("first", "last"), window, strict=False):
                if step is not None and step > end:
                    raise ValueError(
                        f"{name}.{key} is {step}, but the noise schedule's last step is {end}; choose a smaller one"
                    )

    def _check_query_source(self) -> None:
        source, held_out, folder = self.queries.source, self.data.held_out, self.queries.folder
        if source == "held_out" and held_out is None:
            raise ValueError(
                "queries.source is held_out, but data.held_out keeps no images out of training; give a count"
            )
        if source is None and held_out is not None and folder is not None:
            raise ValueError(
                "data.held_out and queries.folder both say what the queries are; set queries.source to one of them"
            )

    def _check_training(self, network: str, changes: dict[str, Any]) -> None:
        try:
            self.training.changed(changes)
        except ValidationError as error:
            problem = explain(error.errors()[0], Training)
            raise ValueError(f"attribution.{network}.training.{problem}") from None

    def _check_retrained(self) -> None:
        subsets = self.lds.subsets if self.lds.training_seed is None else 0  # that need a seed of the oracle's
        for name, asked in (("lds.subsets", subsets), ("removal.queries", self.removal.queries)):
            if asked and not self.oracle.seeds:
                raise ValueError(
                    f"{name} is {asked}, but its models are retrained from the first of oracle.seeds, which are []; "
                    "add a seed"
                )

    def _check_screen(self) -> None:
        if self.screen is not None and self.screen.method not in self.methods:
            raise ValueError(f"screen.method {self.screen.method!r} is not one of `methods`, {self.methods}; add it")

    def _check_sweep(self) -> None:
        sweep = self.sweep
        if len(self.oracle.seeds) < 2 and (sweep.unlearn or sweep.elbo_steps or sweep.nearest):
            raise ValueError(
                f"sweep: the best variant is chosen by the second of oracle.seeds, but these are {self.oracle.seeds}; "
                "add a seed"
            )
        check_keys("sweep.unlearn", sweep.unlearn, type(self.unlearning))
        if self.unlearn.seeds and any("seed" in settings for settings in sweep.unlearn):
            raise ValueError(
                f"sweep.unlearn.seed: unlearn.seeds {self.unlearn.seeds} are those of all variants; leave it out"
            )
        swept: list[tuple[str, Section]] = [("elbo_steps", self.elbo.steps), ("nearest", self.attribution.nearest)]
        groups = ["", *self.unlearn.overrides] if self.text_to_image is None else []
        swept += [("unlearn", self.unlearning), *(("unlearn", self.unlearn.for_group(group)) for group in groups)]
        for name, settings in swept:
            try:
                varied = combinations(getattr(sweep, name), settings)
            except ValueError as error:
                raise ValueError(f"sweep.{name}.{error}") from None
            for key in ("first", "last"):
                step = max((each.get(key) or 0 for each in varied), default=0)
                if step >= self.noise_schedule.num_train_timesteps:
                    raise ValueError(f"sweep.{name}.{key} is {step}, after the noise schedule's last step; lower it")

    def _check_count(self, queries: Queries) -> None:
        count, buckets = queries.count, queries.buckets
        if buckets > count:
            raise ValueError(f"queries: buckets is {buckets} but count is {count}; use at most one bucket per query")
        if count > MAX_QUERIES_PER_BUCKET * buckets:
            raise ValueError(
                f"queries: count {count} is too large for {buckets} bucket(s); use at least "
                f"{-(-count // MAX_QUERIES_PER_BUCKET)}, for {MAX_QUERIES_PER_BUCKET} queries each"
            )

    def _check_sampling(self, queries: Queries, all_steps: int) -> None:
        steps = queries.sampling_steps
        if steps > all_steps:
            raise ValueError("queries.sampling_steps exceeds noise_schedule.num_train_timesteps; choose fewer")
        # diffusers' DDIM takes steps of T // steps, wherever the next one is, and would leave noise in the images.
        if all_steps % steps and queries.sampler != "dpmsolver++":
            raise ValueError(
                f"queries.sampling_steps is {steps}, which does not divide noise_schedule.num_train_timesteps "
                f"{all_steps}, as sampler {queries.sampler} needs; choose a divisor, or dpmsolver++"
            )


def load_config(values: dict[str, Any]) -> Config:
    """Validate a configuration (as read from YAML) and fill in the defaults.

    Raises ConfigError with one line per problem: the key, what was found, and the nearest known name.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = "\n".join(f"  {explain(problem, Config)}" for problem in error.errors())
        raise ConfigError(f"the configuration has {error.error_count()} problem(s):\n{lines}") from None

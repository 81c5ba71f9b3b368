"""The experiment where the models are text-to-image pipelines."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from guda.core.errors import ConfigError
from guda.core.hub import HUB_ID
from guda.core.paths import ANCHORS, BASE, CALIBRATION, TRAINING, unlearned_model
from guda.core.seeding import chosen
from guda.data.prompt_files import read_query_prompts
from guda.data.prompts import PromptBook, prompt_book
from guda.data.queries import known_of_queries
from guda.data.query_prompts import QUERIES_KEY, query_prompts
from guda.models.stable_diffusion.folder import PIPELINE_KEY, pipeline_digest, pipeline_notes
from guda.plan.encoder_notes import encoder_notes
from guda.plan.experiment import Experiment
from guda.specs import (
    AnchorsSpec,
    EncodedAnchorsSpec,
    EncodedSpec,
    FineTuneSpec,
    PipelineSpec,
    PromptedQueriesSpec,
    PromptsSpec,
    Spec,
    digest,
)
from guda.unlearning import RETRACK, STRATEGIES

if TYPE_CHECKING:
    from guda import config
    from guda.config.anchors import Anchors
    from guda.data.datasets import Dataset


class TextExperiment(Experiment):
    """Models are fine-tuned from a pretrained pipeline and see encoded samples: latents, with encoded prompts."""

    @property
    def text(self) -> config.TextToImage:
        return self.config.text_to_image

    @cached_property
    def operators(self) -> dict[str, dict[str, Any]]:
        return {operator: {} for operator in (RETRACK, *STRATEGIES)}

    @cached_property
    def book(self) -> PromptBook:
        """Prompts of the training images and of the anchors."""
        return prompt_book(self.text.prompts, self.dataset.table, self.config.data.dataset)

    def descriptors_of(self, group: str) -> list[str]:
        """Phrases that describe the styles that a group has any images of."""
        styles = self._styles_of(self.groups[group])
        return list(dict.fromkeys(phrase for style in styles for phrase in self.book.descriptors_of(style)))

    def _styles_of(self, ids: Iterable[str]) -> list[str]:
        """The styles that some images are in, in the order of text."""
        return sorted(self.book.styles_of_images[list(ids)].dropna().unique())

    @cached_property
    def known_of_queries(self) -> pd.DataFrame:
        """A row per query: query, prompt, and what else is known of it, under the names of the training table."""
        columns, queries = self.text.prompts, self.config.queries
        if self.given_queries is not None:
            return self._known_of_given(self.given_queries)
        if self.text.queries.file is not None:
            return read_query_prompts(self.text.queries.file, f"{QUERIES_KEY}.file")
        styles = self._styles_of(set().union(*self.groups.values()))
        known = query_prompts(self.text.queries, self.book, styles, queries.count, queries.seed)
        names = {"style": columns.style, "second_style": f"second_{columns.style}", "content": columns.content}
        return known.rename(columns=names)

    def _known_of_given(self, given: Dataset) -> pd.DataFrame:
        known = known_of_queries(given)
        if self.config.data.held_out is not None:
            prompts = prompt_book(self.text.prompts, given.table, self.config.data.dataset).of_images()
            return known.assign(prompt=[each[0] for each in prompts])
        if "prompt" in known.columns:
            return known
        raise ConfigError("queries.table: a text-to-image model needs each query's prompt; give a column `prompt`")

    @cached_property
    def queries(self) -> list[str]:
        return list(self.known_of_queries["query"])

    @cache  # noqa: B019 - one experiment lives as long as the process
    def prompts(self, samples: str) -> pd.DataFrame:
        """Prompts of the training images, the calibration sample, a bucket of queries, or the anchors.

        Columns id and prompt, with a row for each prompt of an image; scored images have one, training images also
        their content and style. Those of anchors are content, style and prompt, then the descriptors, each with its
        style alone.
        """
        if samples == ANCHORS:
            phrases = {style: self.book.descriptors_of(style) for style in self.book.styles}
            described = [(None, style, phrase) for style, known in phrases.items() for phrase in known]
            columns = ["content", "style", "prompt"]
            return pd.concat([self.book.anchors(), pd.DataFrame(described, columns=columns, dtype=object)])
        if samples in self.buckets:
            known = self.known_of_queries.rename(columns={"query": "id"})
            return known.loc[known["id"].isin(self.buckets[samples]), ["id", "prompt"]]
        table, columns, prompts = self.dataset.table, self.text.prompts, self.book.of_images()
        ids = list(table["id"])
        if samples == CALIBRATION:
            settings = self.config.attribution.calibration
            rows = chosen(ids, settings.count, CALIBRATION, settings.seed)
            return pd.DataFrame([(ids[row], prompts[row][0]) for row in rows], columns=["id", "prompt"])
        listed = pd.DataFrame({"id": ids, "prompt": prompts}).explode("prompt", ignore_index=True)
        for name in sorted({columns.content, columns.style} & set(table.columns)):
            listed[name] = listed["id"].map(dict(zip(ids, table[name], strict=True)))
        return listed

    @cache  # noqa: B019
    def prompts_spec(self, samples: str) -> PromptsSpec:
        return PromptsSpec(content=digest(self.prompts(samples).to_csv(index=False)))

    @property
    def pipeline_folder(self) -> str:
        """Where the pipeline is: made here, or a folder or hub id of the user's."""
        return self.text.pipeline or self.on_disk.pipeline()

    @property
    def pipeline_inputs(self) -> list[str]:
        """The files of the pipeline that the workflow makes, if it does."""
        return [] if self.text.pipeline else self.paths.pipeline_files()

    @cached_property
    def pipeline_digest(self) -> str:
        if self.text.pipeline is not None:
            return pipeline_digest(self.text.pipeline, PIPELINE_KEY)
        return self.pipeline_spec().digest()

    def notes(self) -> list[str]:
        source = self.text.pipeline
        given = source is not None and not HUB_ID.fullmatch(source)
        of_files = pipeline_notes(Path(source), PIPELINE_KEY) if given else []
        return [*super().notes(), *of_files, *encoder_notes(self)]

    def pipeline_spec(self) -> PipelineSpec:
        return PipelineSpec(
            images=self.images_digest,
            prompts=self.prompts_spec(TRAINING).digest(),
            noise_schedule=self.config.noise_schedule,
            settings=self.text.small_pipeline,
        )

    @cache  # noqa: B019
    def encoded_spec(self, samples: str) -> EncodedSpec:
        """Spec of the training set, the calibration sample or a bucket, as the networks see it."""
        return EncodedSpec(
            pipeline=self.pipeline_digest,
            images=self.pixels_digest(samples),
            prompts=self.prompts_spec(samples).digest(),
            seed=self.text.latents_seed if self.text.latents == "sample" else None,
            prompted=samples == TRAINING or self.text.score_prompt == "own",
        )

    def encoded_anchors_spec(self) -> EncodedAnchorsSpec:
        return EncodedAnchorsSpec(
            pipeline=self.pipeline_digest,
            prompts=self.prompts_spec(ANCHORS).digest(),
            of_images=self.prompts_spec(TRAINING).digest(),
        )

    def scored_digest(self, samples: str) -> str:
        return self.encoded_spec(samples).digest()

    def scored_samples(self, samples: str) -> str:
        return self.paths.encoded(samples)

    @cache  # noqa: B019
    def model_spec(self, model: str) -> Spec:
        """Spec of base, logo-SEED/GROUP or OPERATOR/GROUP."""
        if model == BASE:
            return self.fine_tune_spec(self.config.training.seed, None)
        family, group = model.split("/")
        if family.startswith("logo-"):
            return self.fine_tune_spec(int(family.removeprefix("logo-")), self.group_digest(group))
        return AnchorsSpec(
            base=self.model_digest(BASE),
            samples=self.encoded_spec(TRAINING).digest(),
            anchors=self.encoded_anchors_spec().digest(),
            group=self.group_digest(group),
            noise_schedule=self.config.noise_schedule,
            settings=self.anchors(family),
        )

    def fine_tune_spec(self, seed: int, excluded: str | None) -> FineTuneSpec:
        """Spec of a model fine-tuned from a seed without what has this digest; None: on everything."""
        return FineTuneSpec(
            pipeline=self.pipeline_digest,
            samples=self.encoded_spec(TRAINING).digest(),
            excluded=excluded,
            noise_schedule=self.config.noise_schedule,
            training=self.config.training.model_copy(update={"seed": seed}),
            prompt_dropout=self.text.prompt_dropout,
            trainable=self.text.trainable,
        )

    def _has_adapters(self, model: str) -> bool:
        return self.text.anchors.trainable == "lora" and model != BASE and not model.startswith("logo-")

    def model_files(self, model: str) -> dict[str, str]:
        return {"weights": self.paths.model_adapter(model)} if self._has_adapters(model) else super().model_files(model)

    def adapted_files(self, model: str) -> list[str]:
        return list(self.model_files(BASE).values()) if self._has_adapters(model) else []

    def anchors(self, operator: str) -> Anchors:
        """Settings of an operator's unlearning: as configured, or with another strategy."""
        strategy = STRATEGIES.get(operator, self.text.anchors.strategy)
        return self.text.anchors.model_copy(update={"strategy": strategy})

    def unlearned(self, operator: str, group: str) -> str:
        """Name of the model that has unlearned `group`; one of the configured strategy is GUDA's own."""
        same = self.anchors(operator) == self.anchors(RETRACK)
        return unlearned_model(RETRACK if same else operator, group)

    @cache  # noqa: B019
    def bucket_spec(self, bucket: str) -> Spec:
        if bucket == CALIBRATION or self.given_queries is not None:
            return super().bucket_spec(bucket)
        queries = self.config.queries
        return PromptedQueriesSpec(
            base=self.model_digest(BASE),
            pipeline=self.pipeline_digest,
            prompts=self.prompts_spec(bucket).digest(),
            noise_schedule=self.config.noise_schedule,
            seed=queries.seed,
            sampler=queries.sampler,
            sampling_steps=queries.sampling_steps,
            guidance_scale=self.text.queries.guidance_scale,
            ids=self.buckets[bucket],
        )

"""Text-to-image models fine-tuned from a pretrained pipeline."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from guda.core.errors import ArtifactError, ConfigError, nearest_name
from guda.core.hub import HUB_ID
from guda.core.paths import ANCHORS, BASE, CALIBRATION, CONFIG, TRAINING, conditioned_samples, record_of
from guda.core.records import read_record
from guda.core.seeding import chosen, derive_seed
from guda.data.prompt_files import read_query_prompts
from guda.data.prompts import PromptBook, prompt_book
from guda.data.queries import known_of_queries
from guda.data.query_prompts import QUERIES_KEY, query_prompts
from guda.models.checkpoints.files import DIFFUSERS, found_checkpoint, read_headers, read_object
from guda.models.imported import check_is_folder, check_process, source_digest
from guda.models.stable_diffusion.encoder_health import complaints
from guda.models.stable_diffusion.folder import (
    DEFAULTS,
    NETWORK,
    PIPELINE,
    PIPELINE_KEY,
    check_pipeline,
    check_unet,
    pipeline_digest,
    pipeline_notes,
)
from guda.plan.families.family import FLOAT, Network
from guda.specs import (
    EncodedAnchorsSpec,
    EncodedSpec,
    FineTuneSpec,
    ImportedUNetSpec,
    LatentRemovalSpec,
    PipelineSpec,
    PromptedQueriesSpec,
    PromptsSpec,
    digest,
)

if TYPE_CHECKING:
    from guda.data.datasets import Dataset
    from guda.plan.config import TextToImage
    from guda.plan.experiment import Experiment

# Numbers that a sample's forward pass keeps, per pixel and channel at the finest resolution.
ACTIVATIONS = 120
# Fraction of the finest resolution's pixels that a weight of the network is applied to, on average.
SHARE = 1 / 4
LATENT_CHANNELS = 4
# Stable Diffusion 1.5, assumed for pipelines that are not on this machine yet.
WEIGHTS_OF_SD, CHANNELS_OF_SD, SHRINKING_OF_SD = 860e6 * FLOAT, [320, 640, 1280, 1280], 8
# Fraction of its weights that are keys and values of cross-attention.
KEYS_AND_VALUES = 1 / 45


class FineTuned:
    """Models are a pipeline's denoiser, and see encoded samples: latents and encoded prompts; see `Family`."""

    title = "text-to-image models"
    conditional = BASE

    def __init__(self, experiment: Experiment, text: TextToImage):
        self.experiment, self.text = experiment, text

    @cached_property
    def book(self) -> PromptBook:
        """Prompts of the training images and of the anchors."""
        return prompt_book(self.text.prompts, self.experiment.dataset.table, self.experiment.config.data.dataset)

    def descriptors_of(self, group: str) -> list[str]:
        """Phrases that describe the styles of a group's images."""
        styles = self._styles_of(self.experiment.groups[group])
        return list(dict.fromkeys(phrase for style in styles for phrase in self.book.descriptors_of(style)))

    def _styles_of(self, ids: Iterable[str]) -> list[str]:
        """The styles of the images, sorted."""
        return sorted(self.book.styles_of_images[list(ids)].dropna().unique())

    @cached_property
    def known_of_queries(self) -> pd.DataFrame:
        """A row per query: query, prompt, and its other metadata under the training table's column names."""
        columns, queries = self.text.prompts, self.experiment.config.queries
        if self.experiment.given_queries is not None:
            return self._known_of_given(self.experiment.given_queries)
        if self.text.queries.file is not None:
            return read_query_prompts(self.text.queries.file, f"{QUERIES_KEY}.file")
        styles = self._styles_of(set().union(*self.experiment.groups.values()))
        known = query_prompts(self.text.queries, self.book, styles, queries.count, queries.seed)
        names = {"style": columns.style, "second_style": f"second_{columns.style}", "content": columns.content}
        return known.rename(columns=names)

    def _known_of_given(self, given: Dataset) -> pd.DataFrame:
        known = known_of_queries(given)
        if self.experiment.query_source == "held_out":
            prompts = prompt_book(self.text.prompts, given.table, self.experiment.config.data.dataset).of_images()
            return known.assign(prompt=[each[0] for each in prompts])
        if "prompt" in known.columns:
            return known
        raise ConfigError("queries.table: a text-to-image model needs each query's prompt; give a column `prompt`")

    @property
    def query_ids(self) -> list[str]:
        return list(self.known_of_queries["query"])

    @cache  # noqa: B019 - one experiment lives as long as the process
    def prompts(self, samples: str) -> pd.DataFrame:
        """Prompts of the training images, the calibration sample, a bucket of queries, or the anchors.

        Columns id and prompt, with a row for each prompt of an image; scored images have one prompt, and training
        images also a content and a style. A query of conditional/BUCKET has the empty prompt, then one that names each
        group, in the order of `Experiment.labels`. Anchors have content, style and prompt, followed by the descriptors,
        which have only a style.
        """
        if samples == ANCHORS:
            phrases = {style: self.book.descriptors_of(style) for style in self.book.styles}
            described = [(None, style, phrase) for style, known in phrases.items() for phrase in known]
            alone = pd.DataFrame(described, columns=["content", "style", "prompt"], dtype=object)
            return pd.concat([self.book.anchors(), alone])
        if samples in self._conditioned:
            return self._naming_groups(self._conditioned[samples])
        if samples in self.experiment.buckets:
            known = self.known_of_queries.rename(columns={"query": "id"})
            return known.loc[known["id"].isin(self.experiment.buckets[samples]), ["id", "prompt"]]
        table, columns, prompts = self.experiment.dataset.table, self.text.prompts, self.book.of_images()
        ids = list(table["id"])
        if samples == CALIBRATION:
            settings = self.experiment.config.attribution.calibration
            rows = chosen(ids, settings.count, CALIBRATION, settings.seed)
            return pd.DataFrame([(ids[row], prompts[row][0]) for row in rows], columns=["id", "prompt"])
        listed = pd.DataFrame({"id": ids, "prompt": prompts}).explode("prompt", ignore_index=True)
        for name in sorted({columns.content, columns.style} & set(table.columns)):
            listed[name] = listed["id"].map(dict(zip(ids, table[name], strict=True)))
        return listed

    @property
    def _conditioned(self) -> dict[str, str]:
        """Names of the samples with a prompt for each group, mapped to the names of their buckets."""
        return {conditioned_samples(bucket): bucket for bucket in self.experiment.buckets}

    def _naming_groups(self, bucket: str) -> pd.DataFrame:
        known = self.known_of_queries.set_index("query").reindex(columns=[self.text.prompts.content])
        contents = known.iloc[:, 0].astype(object).where(known.iloc[:, 0].notna(), None)
        rows = [
            (query, prompt)
            for query in self.experiment.buckets[bucket]
            for prompt in ["", *(self._naming(group, query, contents[query]) for group in self.experiment.labels)]
        ]
        return pd.DataFrame(rows, columns=["id", "prompt"])

    def _naming(self, group: str, query: str, content: str | None) -> str:
        """The first anchor prompt for a query's content in one of the group's styles; without content, descriptors."""
        styles = self.styles_held(group)
        style = styles[derive_seed("style of a group", group, query) % len(styles)]
        if content is None:
            return ", ".join(self.book.drawn(style, "anchor", style, 0))
        return self.book.prompt(content, style, self.book.drawn(style, "anchor", content, style, 0))

    def styles_held(self, group: str) -> list[str]:
        """The styles of which a group holds at least half of the images, sorted."""
        styles = self.book.styles_of_images
        shares = styles[self.experiment.groups[group]].value_counts() / styles.value_counts()
        return sorted(shares.index[shares >= 1 / 2])

    @cache  # noqa: B019
    def prompts_spec(self, samples: str) -> PromptsSpec:
        return PromptsSpec(content=digest(self.prompts(samples).to_csv(index=False)))

    @property
    def pipeline_folder(self) -> str:
        """Where the pipeline is: made by the workflow, or the user's folder or hub id."""
        return self.text.pipeline or self.experiment.on_disk.pipeline()

    @property
    def training_files(self) -> list[str]:
        """The files of the pipeline, if the workflow makes it."""
        return [] if self.text.pipeline else self.experiment.paths.pipeline_files()

    @cached_property
    def pipeline_digest(self) -> str:
        if self.text.pipeline is not None:
            return pipeline_digest(self.text.pipeline, PIPELINE_KEY)
        return self.pipeline_spec().digest()

    def notes(self) -> list[str]:
        source = self.text.pipeline
        of_files = [] if source is None or HUB_ID.fullmatch(source) else pipeline_notes(Path(source), PIPELINE_KEY)
        return [*of_files, *_encoder_notes(self)]

    def pipeline_spec(self) -> PipelineSpec:
        return PipelineSpec(
            images=self.experiment.images_digest,
            prompts=self.prompts_spec(TRAINING).digest(),
            noise_schedule=self.experiment.config.noise_schedule,
            settings=self.text.small_pipeline,
        )

    @cache  # noqa: B019
    def encoded_spec(self, samples: str) -> EncodedSpec:
        """Spec of the training set, the calibration sample or a bucket, as the networks see it."""
        return EncodedSpec(
            pipeline=self.pipeline_digest,
            images=self.experiment.pixels_digest(samples),
            prompts=self.prompts_spec(samples).digest(),
            seed=self.text.latents_seed if self.text.latents == "sample" else None,
            prompted=samples == TRAINING or samples in self._conditioned or self.text.score_prompt == "own",
        )

    def encoded_anchors_spec(self) -> EncodedAnchorsSpec:
        return EncodedAnchorsSpec(
            pipeline=self.pipeline_digest,
            prompts=self.prompts_spec(ANCHORS).digest(),
            of_images=self.prompts_spec(TRAINING).digest(),
        )

    def samples(self, name: str) -> str:
        return self.experiment.paths.encoded(name)

    def conditional_samples(self, bucket: str) -> str:
        return conditioned_samples(bucket)

    def samples_digest(self, name: str) -> str:
        return self.encoded_spec(name).digest()

    def imported(self, source: str, key: str) -> ImportedUNetSpec:
        return ImportedUNetSpec(
            content=source_digest(source, key, NETWORK),
            pipeline=self.pipeline_digest,
            shape=list(self.experiment.dataset.image_shape),
            noise_schedule=self.experiment.config.noise_schedule,
        )

    def check_imported(self, source: str, key: str) -> None:
        config, pipeline = self.experiment.config, self.text.pipeline
        check_is_folder(source, key, NETWORK, "model")
        given = None if pipeline is None or HUB_ID.fullmatch(pipeline) else Path(pipeline)
        check_unet(Path(source), key, given)
        check_process(Path(source), config.noise_schedule, key, config)

    def trained(self, seed: int, excluded: str | None) -> FineTuneSpec:
        return FineTuneSpec(
            pipeline=self.pipeline_digest,
            samples=self.encoded_spec(TRAINING).digest(),
            excluded=excluded,
            noise_schedule=self.experiment.config.noise_schedule,
            training=self.experiment.config.training.model_copy(update={"seed": seed}),
            prompt_dropout=self.text.prompt_dropout,
            trainable=self.text.trainable,
        )

    def removal_spec(self, **shared: Any) -> LatentRemovalSpec:
        generation, buckets = None, self.experiment.buckets
        if self.experiment.given_queries is None:
            queries = self.generated(next(iter(buckets)))
            generation = queries.model_copy(update={"base": "", "prompts": "", "ids": []})
        return LatentRemovalSpec(
            **shared,
            generation=generation,
            scored=self.experiment.scored_digests(),
            prompts={bucket: self.prompts_spec(bucket).digest() for bucket in buckets},
        )

    def _has_adapters(self, model: str) -> bool:
        unlearned = model.split("/")[0] in ("{operator}", *self.experiment.operators)
        return unlearned and self.text.anchors.trainable == "lora"

    def model_files(self, model: str) -> dict[str, str]:
        paths = self.experiment.paths
        if self._has_adapters(model):
            return {"weights": paths.model_adapter(model)}
        return {"weights": paths.model_weights(model), "config": paths.model_config(model)}

    def adapted_files(self, model: str) -> list[str]:
        return list(self.model_files(BASE).values()) if self._has_adapters(model) else []

    def prompt_files(self, bucket: str) -> list[str]:
        return [self.experiment.paths.prompts(bucket)]

    def generated(self, bucket: str) -> PromptedQueriesSpec:
        queries = self.experiment.config.queries
        return PromptedQueriesSpec(
            base=self.experiment.model_digest(BASE),
            pipeline=self.pipeline_digest,
            prompts=self.prompts_spec(bucket).digest(),
            noise_schedule=self.experiment.config.noise_schedule,
            seed=queries.seed,
            sampler=queries.sampler,
            sampling_steps=queries.sampling_steps,
            guidance_scale=self.text.queries.guidance_scale,
            ids=self.experiment.buckets[bucket],
        )

    def network(self) -> Network:
        """The pipeline's network; one that is not on this machine yet is assumed to be Stable Diffusion 1.5's."""
        _, height, width = self.experiment.dataset.image_shape
        pixels, source = height * width, self.text.pipeline
        if source is None:
            small = self.text.small_pipeline
            weights = 100 * FLOAT * sum(channels**2 for channels in small.unet_channels) * small.layers_per_block
            return network(weights, small.unet_channels, 4 ** (len(small.vae_channels) - 1), pixels)
        if HUB_ID.fullmatch(source):
            return network(WEIGHTS_OF_SD, CHANNELS_OF_SD, SHRINKING_OF_SD**2, pixels)
        unet, vae = (DEFAULTS[part] | read_object(Path(source, part, CONFIG), PIPELINE_KEY) for part in ("unet", "vae"))
        headers = read_headers(found_checkpoint(Path(source, "unet"), DIFFUSERS, PIPELINE_KEY), PIPELINE_KEY)
        weights = FLOAT * sum(math.prod(header.shape) for header in headers.values())
        return network(weights, unet["block_out_channels"], 4 ** (len(vae["block_out_channels"]) - 1), pixels)

    def check(self) -> None:
        experiment, config, pipeline = self.experiment, self.experiment.config, self.text.pipeline
        channels = experiment.dataset.image_shape[0]
        if channels != 3:
            raise ConfigError(f"text_to_image: images need three channels, but have {channels}; set data.channels to 3")
        if config.training.flip:
            raise ConfigError(
                "training.flip: images are encoded once, and flipped latents are not the latents of flipped images; "
                "leave it out, or add flipped images to the data"
            )
        if any("trainable" in settings for settings in config.sweep.unlearn):
            raise ConfigError(
                "sweep.unlearn.trainable: adapters and full networks are different files; use a separate experiment "
                "for each"
            )
        for style in self.text.small_pipeline.styles:
            if style not in self.book.styles:
                known = nearest_name(style, self.book.styles)
                raise ConfigError(f"text_to_image.small_pipeline.styles: no image has style {style!r}; {known}")
        if pipeline is not None and not HUB_ID.fullmatch(pipeline):
            check_is_folder(pipeline, PIPELINE_KEY, PIPELINE, "pipeline")
            check_pipeline(Path(pipeline), PIPELINE_KEY)
            check_process(Path(pipeline), config.noise_schedule, PIPELINE_KEY, config)


def network(weights: float, channels: list[int], shrinking: int, pixels: int) -> Network:
    """The size of a network with `weights` bytes of weights and these channels, on images of `pixels` pixels.

    An autoencoder turns `shrinking` pixels into one latent pixel. It sees full images, with fewer channels at its
    finest resolution than the network has.
    """
    latents = pixels / shrinking
    return Network(
        weights=weights,
        operations=2 * weights / FLOAT * latents * SHARE,
        activations=FLOAT * ACTIVATIONS * channels[0] * latents,
        shape=(LATENT_CHANNELS, 1, latents),
        sample_bytes=FLOAT * LATENT_CHANNELS * latents,
        features=channels[-1] * latents / 4 ** (len(channels) - 1),
        cross_attention=KEYS_AND_VALUES,
        passes=2,
        encoding=FLOAT * ACTIVATIONS / 4 * channels[0] * pixels,
    )


def _encoder_notes(family: FineTuned) -> list[str]:
    """Notes from the record of the encoded training images, if it exists."""
    with contextlib.suppress(ArtifactError):
        record = read_record(
            record_of(family.experiment.on_disk.encoded(TRAINING)), family.encoded_spec(TRAINING).digest()
        )
        return complaints(record.get("health", {}))
    return []

"""For `train.py`: the inputs of each kind of training, and how its network is trained, measured and saved."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from guda.config import Data
from guda.core.errors import DataError
from guda.core.paths import Paths
from guda.data.datasets import load_dataset
from guda.data.labels import DrawnLabels, Memberships, read_labels
from guda.data.training_set import TrainingSet, read_training_set
from guda.jobs.cli import data_settings
from guda.jobs.model import Recipe
from guda.models.classifier import save_classifier
from guda.models.denoisers import save_denoiser
from guda.models.denoisers.text_unet import select_trainable
from guda.models.noise_schedule import NoiseSchedule
from guda.models.stable_diffusion.pipeline import pretrained_denoiser
from guda.scoring.probe import losses_of_both, measured, measured_classifier
from guda.specs import ClassifierSpec, ConditionalSpec, FineTuneSpec, ModelSpec, TrainSpec
from guda.training.classifier import train_classifier
from guda.training.loop import fine_tune, train
from guda.training.state import Execution


def from_scratch(spec: TrainSpec, args: Namespace, device: torch.device) -> Recipe:
    """A denoiser trained from scratch, on all images or without some."""
    training_set = read_training_set(args.samples, spec.images)
    forgotten, rows = _left_out(spec, args, training_set)

    def trained(execution: Execution) -> tuple[torch.nn.Module, int]:
        schedule = NoiseSchedule.from_config(spec.noise_schedule)
        return train(training_set.images, spec.unet, schedule, spec.training, execution, rows)

    recipe = _denoiser_recipe(spec, args, trained, training_set, forgotten)
    aside = images_aside(data_settings(args.data), spec.images) if args.data and not spec.excluded else None
    return recipe if spec.excluded else _followed(recipe, args, training_set, aside)


def fine_tuned(spec: FineTuneSpec, args: Namespace, device: torch.device) -> Recipe:
    """A text-to-image denoiser fine-tuned from the pipeline's, on all encoded images or without some."""
    training_set = read_training_set(args.samples, spec.samples)
    forgotten, rows = _left_out(spec, args, training_set)
    captions = replace(training_set.required_captions(), seed=spec.training.seed, dropout=spec.prompt_dropout)
    height, width = training_set.images.shape[2:]
    denoiser = pretrained_denoiser(args.pipeline, spec.pipeline, spec.noise_schedule, (height, width))
    select_trainable(denoiser, spec.trainable)
    if args.execution.gradient_checkpointing:
        denoiser.unet.enable_gradient_checkpointing()

    def trained(execution: Execution) -> tuple[torch.nn.Module, int]:
        return fine_tune(denoiser, training_set.images, captions, spec.training, execution, rows)

    recipe = _denoiser_recipe(spec, args, trained, training_set, forgotten)
    return recipe if spec.excluded else _followed(recipe, args, training_set)


def conditional(spec: ConditionalSpec, args: Namespace, device: torch.device) -> Recipe:
    """A denoiser trained from scratch that is conditioned on an image's group, or on no group."""
    training_set, memberships = _grouped(spec, args)
    labels = DrawnLabels(memberships, training_set.ids, spec.training.seed, spec.label_dropout)

    def trained(execution: Execution) -> tuple[torch.nn.Module, int]:
        schedule = NoiseSchedule.from_config(spec.noise_schedule)
        return train(training_set.images, spec.unet, schedule, spec.training, execution, labels=labels)

    return _denoiser_recipe(spec, args, trained, training_set)


def classifier(spec: ClassifierSpec, args: Namespace, device: torch.device) -> Recipe:
    """A classifier of noisy images into groups."""
    training_set, memberships = _grouped(spec, args)

    def trained(execution: Execution) -> tuple[torch.nn.Module, int]:
        schedule = NoiseSchedule.from_config(spec.noise_schedule)
        return train_classifier(training_set.images, memberships, spec.unet, schedule, spec.training, execution)

    return Recipe(
        trained,
        lambda network: measured_classifier(network, spec, training_set, memberships),
        lambda folder, network: save_classifier(folder, network, list(spec.members), spec),
    )


RECIPES: dict[type[ModelSpec], Callable[[Any, Namespace, torch.device], Recipe]] = {
    TrainSpec: from_scratch,
    FineTuneSpec: fine_tuned,
    ConditionalSpec: conditional,
    ClassifierSpec: classifier,
}


def images_aside(settings: Data, images: str) -> TrainingSet | None:
    """Images of the dataset that no model is trained on: those kept aside, else held-out queries, else None.

    `images` is the digest of the training images. Raises DataError if the dataset's images have changed.
    """
    if not settings.kept_aside and settings.held_out is None:
        return None
    dataset = load_dataset(settings)
    if dataset.images_spec().digest() != images:
        raise DataError(f"dataset {dataset.name!r} changed since the workflow was planned; run snakemake again")
    found = dataset.kept_aside or dataset.held_out
    return None if found is None else TrainingSet(torch.from_numpy(found.images), list(found.table["id"]))


def _followed(recipe: Recipe, args: Namespace, training_set: TrainingSet, aside: TrainingSet | None = None) -> Recipe:
    """A base model's recipe that records the losses on training and held-out images in its learning curve."""
    batch_size = args.execution.micro_batch_size or 0
    return replace(recipe, check=lambda denoiser: losses_of_both(denoiser, training_set, aside, batch_size))


def _left_out(
    spec: TrainSpec | FineTuneSpec, args: Namespace, training_set: TrainingSet
) -> tuple[Tensor | None, Tensor | None]:
    """Images that a model is trained without, bool [N], and the rows of the others, int64; (None, None): all."""
    if not args.exclude:
        return None, None
    forgotten = training_set.in_group(args.exclude, spec.excluded)
    return forgotten, torch.nonzero(~forgotten).flatten()


def _grouped(spec: ConditionalSpec | ClassifierSpec, args: Namespace) -> tuple[TrainingSet, Memberships]:
    training_set = read_training_set(args.samples, spec.images)
    return training_set, read_labels(Paths(args.results), training_set.ids, spec.members)


def _denoiser_recipe(
    spec: ModelSpec,
    args: Namespace,
    trained: Callable[[Execution], tuple[torch.nn.Module, int]],
    training_set: TrainingSet,
    forgotten: Tensor | None = None,
) -> Recipe:
    health = partial(measured, micro_batch_size=args.execution.micro_batch_size or 0)
    return Recipe(
        trained,
        lambda denoiser: health(denoiser, spec, training_set, forgotten),
        lambda folder, denoiser: save_denoiser(folder, denoiser, spec),
    )

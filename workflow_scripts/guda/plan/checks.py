"""Checks that the data can provide what the configuration requests, before anything is planned."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from guda.core.errors import ConfigError, DataError, nearest_name
from guda.core.hub import HUB_ID
from guda.core.paths import group_file
from guda.data.datasets.soundness import check_sound
from guda.evaluation.subsets import n_kept, ways
from guda.methods import METHODS, get_method
from guda.models.noise_schedule import NoiseSchedule, end_of_signal
from guda.plan.exemplars import check_exemplars
from guda.plan.reports import instance_level

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

SHOWN = 5  # groups


def check(experiment: Experiment) -> None:
    """Raise ConfigError, DataError or ArtifactError, naming the key or file, if the experiment cannot be run."""
    config = experiment.config
    _check_results(experiment.on_disk.results)
    _check_groups(experiment)
    known = [name for name, method in METHODS.items() if method.applies(experiment)]
    for name in config.methods:
        if name not in METHODS:
            raise ConfigError(f"methods: unknown method {name!r}; {nearest_name(name, known)}")
        if name not in known:
            title = experiment.family.title
            raise ConfigError(f"methods: {name} is not supported for {title}; known: {', '.join(known)}")
    content, columns = config.metrics.content, list(experiment.dataset.table.columns)
    if content is not None and content not in columns:
        raise ConfigError(f"metrics.content: no column {content!r}; {nearest_name(content, columns)}")
    experiment.family.check()
    _check_lds(experiment)
    _check_removal(experiment)
    _check_likelihood(experiment)
    check_exemplars(experiment)
    # These read the user's files: report problems with them here rather than in the middle of planning.
    for model, (source, key) in experiment.imports.items():
        if not HUB_ID.fullmatch(source):  # models on the hub are checked by the first job
            experiment.family.check_imported(source, key)
        experiment.model_spec(model)
    for name in [*config.methods, *experiment.variants]:
        get_method(name).check(experiment)
        experiment.method_spec(name)
    check_sound([each for each in (experiment.dataset, experiment.given_queries) if each is not None])


def _check_results(results: Path) -> None:
    """Require a dedicated folder, since planning sets the modification times of its files (`earlier_results`)."""
    if results.exists() and not results.is_dir():
        raise ConfigError(f"results: {str(results)!r} is a file; name a folder")
    for name, place in {"working": Path.cwd(), "home": Path(os.path.expanduser("~"))}.items():  # noqa: PTH111 - may lack
        if place.resolve().is_relative_to(results.resolve()):
            raise ConfigError(f"results: {str(results)!r} is or contains the {name} folder; name a dedicated one")


def size_notes(experiment: Experiment) -> list[str]:
    """Notes on groups with a single image, and on batches larger than the training set."""
    n_images, config, notes = len(experiment.dataset.table), experiment.config, []
    single = [group for group, members in experiment.groups.items() if len(members) == 1]
    if single:
        shown = ", ".join(single[:SHOWN]) + (f" and {len(single) - SHOWN} more" if len(single) > SHOWN else "")
        notes.append(
            f"{len(single)} group(s) with a single image ({shown}): the effect of one image is hardly above the noise; "
            "name larger groups in data.groups, or group by something else"
        )
    unlearning = "unlearn" if config.text_to_image is None else "text_to_image.anchors"
    for key, settings in (("training", config.training), (unlearning, config.unlearning)):
        if settings.batch_size > n_images:
            notes.append(
                f"{key}.batch_size is {settings.batch_size}, but there are only {n_images} training images, so every "
                "batch repeats images; lower it"
            )
    return notes


def _check_groups(experiment: Experiment) -> None:
    n_images, unlearn = len(experiment.dataset.table), experiment.config.unlearn
    _check_case(list(experiment.groups), experiment.on_disk.results)
    for group, members in experiment.groups.items():
        if len(members) == n_images:
            raise DataError(f"group {group!r} contains every training image; nothing would be left to train on")
    for key, named in {"overrides": list(unlearn.overrides), "import": list(unlearn.imported)}.items():
        for group in named:
            if group not in experiment.groups:
                raise ConfigError(f"unlearn.{key}: no group {group!r}; {nearest_name(group, list(experiment.groups))}")


def _check_case(groups: list[str], results: Path) -> None:
    """Raise DataError for groups whose files differ only in case, if the file system ignores case."""
    alike: dict[str, str] = {}
    for group in groups:
        other = alike.setdefault(group_file(group).casefold(), group)
        if other != group and not _tells_case(results):
            raise DataError(
                f"the names of the groups {other!r} and {group!r} differ only in case, which the file system of "
                f"{str(results)!r} ignores; rename one of them"
            )


def _tells_case(folder: Path) -> bool:
    """Whether the file system distinguishes upper from lower case; `folder` need not exist yet."""
    for place in (folder.absolute(), *folder.absolute().parents):
        swapped = place.name.swapcase()
        if place.exists() and swapped != place.name:
            return not (place.with_name(swapped).exists() and place.samefile(place.with_name(swapped)))
    return True


def _check_likelihood(experiment: Experiment) -> None:
    settings = experiment.config.likelihood
    end = end_of_signal(NoiseSchedule.from_config(experiment.config.noise_schedule))
    if settings.first >= end:
        raise ConfigError(
            f"likelihood.first is {settings.first}, but at step {end} no signal of the image is left; choose an "
            "earlier step"
        )
    for group in settings.groups or []:
        if group not in experiment.groups:
            raise ConfigError(f"likelihood.groups: no group {group!r}; {nearest_name(group, list(experiment.groups))}")


def _check_lds(experiment: Experiment) -> None:
    lds, n_groups = experiment.config.lds, len(experiment.groups)
    if not lds.subsets:
        return
    kept, possible = n_kept(n_groups, lds), ways(n_groups, lds, rest=experiment.in_no_group > 0)
    if lds.sizes == "fixed" and not 0 < kept < n_groups:
        raise ConfigError(f"lds.alpha {lds.alpha} keeps {kept} of {n_groups} groups; choose one that keeps only some")
    if lds.subsets > possible:
        chosen = f"{kept} of {n_groups} groups" if lds.sizes == "fixed" else f"some of {n_groups} groups"
        raise ConfigError(
            f"lds.subsets is {lds.subsets}, but there are only {possible} ways to keep {chosen}; lower it"
        )
    for index, groups in enumerate(experiment.left_out_groups):
        left_out = set().union(*(experiment.groups[group] for group in groups))
        if len(left_out) == len(experiment.dataset.table):
            raise DataError(f"lds: subset {index} leaves no training images; use fixed lds.sizes and raise lds.alpha")


def _check_removal(experiment: Experiment) -> None:
    removal = experiment.config.removal
    if not removal.queries:
        return
    counts = {"groups": len(experiment.groups), "images": len(experiment.dataset.table)}
    for key, count in counts.items():
        largest = max(getattr(removal, key), default=0)
        if largest >= count:
            raise ConfigError(f"removal.{key}: {largest} of {count} {key} cannot be removed; use smaller numbers")
    if removal.images and not instance_level(experiment):
        raise ConfigError(
            "removal.images: no method scores individual training images; add one that does, such as nearest, "
            "to `methods`, or leave it empty"
        )

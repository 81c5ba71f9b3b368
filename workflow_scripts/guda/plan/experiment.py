"""The experiment as the workflow sees it: its groups, models, buckets of queries, and the spec of every job.

Built from the configuration and the training table alone, without torch, whenever the workflow plans.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache, cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from guda.config import QuerySource
from guda.config.file import read_yaml
from guda.core.errors import ConfigError, nearest_name
from guda.core.paths import (
    BASE,
    BASE_PROXY,
    BASES,
    CALIBRATION,
    CLASSIFIER,
    CONDITIONAL,
    EXEMPLARS,
    IMPORTED,
    PROXY,
    TRAINING,
    Paths,
    group_file,
    subset_model,
    unlearned_model,
)
from guda.data.datasets import Dataset, load_dataset
from guda.data.groups import read_groups, repeated_images
from guda.data.queries import (
    PICTURED,
    bucket_prefix,
    content_digest,
    given_queries,
    of_bucket,
    queries_by_bucket,
    source_of,
)
from guda.evaluation.subsets import kept_by_subset
from guda.methods import get_method
from guda.methods.counterfactual.plan import Unlearned
from guda.methods.ensemble.plan import EnsembleOf
from guda.methods.proxy.plan import proxy_spec
from guda.methods.variants import Variant, variants
from guda.models.imported import notes_of
from guda.models.noise_schedule import elbo_steps
from guda.plan.checks import check, size_notes
from guda.plan.config import Config, load_config
from guda.plan.exemplars import (
    exemplar_queries_spec,
    groups_of_queries,
    known_of_exemplar_queries,
    tuned_spec,
)
from guda.plan.families import FineTuned, family_of
from guda.plan.health_notes import health_notes
from guda.specs import (
    CalibrationSpec,
    ClassifierSpec,
    ConditionalElboSpec,
    ConditionalSpec,
    ElboSettings,
    ElboSpec,
    ExclusionSpec,
    GroupSizesSpec,
    GroupSpec,
    ModelSpec,
    NeighborsSpec,
    PosteriorsSpec,
    QueryFilesSpec,
    QueryTableSpec,
    Spec,
    TrainedSubset,
    digest,
    digest_lines,
)
from guda.unlearning import GUDA, Operator, operators_of
from guda.unlearning.retrack.plan import Unlearning

if TYPE_CHECKING:
    import pandas as pd

SHOWN_GROUPS = 20


def planned(values: dict[str, Any], files: Iterable[str], located: Callable[[str], str]) -> Experiment:
    """Build the experiment from the values that Snakemake merged from configuration files. Raises GudaError.

    Each file is read again to catch what Snakemake lets pass, such as duplicate keys.
    """
    for file in files:
        read_yaml(file)
    return Experiment(load_config(values), located=located)


class Experiment:
    """Everything that follows from a configuration: names, paths and specs.

    `paths` are the paths in the rules, `on_disk` those of the same files on disk; `located` maps the former to the
    latter when another workflow uses the rules under a prefix.
    """

    def __init__(self, config: Config, dataset: Dataset | None = None, located: Callable[[str], str] = str):
        self.dataset = dataset or load_dataset(config.data)
        metrics = config.metrics.among(list(self.dataset.table.columns), config.data.grouped_by)
        self.config = config = config.model_copy(update={"metrics": metrics})
        self.paths = Paths(config.results, config.queries.name)
        self.on_disk = Paths(located(str(self.paths.results)), config.queries.name)
        self._notes_of_groups: list[str] = []
        self.groups = read_groups(self.dataset.table, config.data, self._notes_of_groups)
        self._group_of_file = {group_file(group): group for group in self.groups}
        self.images_spec = self.dataset.images_spec()
        self.family = family_of(self)
        check(self)

    @property
    def fine_tuned(self) -> FineTuned:
        """The family, if it is that of text-to-image models. Raises ConfigError otherwise."""
        if not isinstance(self.family, FineTuned):
            raise ConfigError(f"text_to_image: the experiment has {self.family.title}; add this section for others")
        return self.family

    # Digests that appear in thousands of specs are computed once.

    @cached_property
    def images_digest(self) -> str:
        return self.images_spec.digest()

    @cache  # noqa: B019 - one experiment lives as long as the process
    def group_digest(self, group: str) -> str:
        return self.group_spec(group).digest()

    @cache  # noqa: B019
    def model_digest(self, model: str) -> str:
        return self.model_spec(model).digest()

    @cache  # noqa: B019
    def bucket_digest(self, bucket: str) -> str:
        return self.bucket_spec(bucket).digest()

    @property
    def query_source(self) -> QuerySource:
        """Where the queries come from."""
        return source_of(self.config.data, self.config.queries)

    @cached_property
    def given_queries(self) -> Dataset | None:
        """The given queries; None if queries are generated."""
        return given_queries(self.config.data, self.config.queries, self.dataset)

    @cached_property
    def queries(self) -> list[str]:
        """Ids of the queries; they do not depend on the number of queries."""
        if self.query_source == "exemplars":
            return list(groups_of_queries(self))
        return self.family.query_ids if self.given_queries is None else list(self.given_queries.table["id"])

    @property
    def pictured_queries(self) -> list[str]:
        """The queries that are saved as PNG files: all of them, or none if there are very many."""
        return self.queries if len(self.queries) <= PICTURED else []

    @cached_property
    def known_of_queries(self) -> pd.DataFrame | None:
        """A row per query with its metadata, if there is any."""
        return known_of_exemplar_queries(self) if self.query_source == "exemplars" else self.family.known_of_queries

    @cached_property
    def buckets(self) -> dict[str, list[str]]:
        """Query ids by bucket, without empty buckets."""
        return queries_by_bucket(self.queries, self.config.queries.buckets, self.config.queries.name)

    @property
    def bucket_shape(self) -> str:
        """Regular expression that matches the names of query buckets."""
        return re.escape(bucket_prefix(self.config.queries.name)) + r"\d+"

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """Imported models: each one's source, and the configuration key that names it."""
        pretrained, unlearned = self.config.model.pretrained, self.config.unlearn.imported
        base = {} if pretrained is None else {BASE: (pretrained, "model.pretrained")}
        return base | {
            unlearned_model(IMPORTED, group): (source, f"unlearn.import.{group}") for group, source in unlearned.items()
        }

    @cached_property
    def variants(self) -> dict[str, Variant]:
        """Variants of methods in the sweep, by name."""
        return {variant.name: variant for variant in variants(self.config)}

    @cached_property
    def operators(self) -> dict[str, Operator]:
        """The operators that can unlearn these models, by name, including those of variants and additional seeds."""
        operators, swept = operators_of(self), [variant for variant in self.variants.values() if variant.unlearn]
        operators |= {each.operator: operators[GUDA].varied(each.operator, each.unlearn) for each in swept}
        runs = self.config.unlearn.runs.items()
        return {name + run: made.varied(name + run, seed) for run, seed in runs for name, made in operators.items()}

    @property
    def methods_used(self) -> list[str]:
        """The configured methods and the members of any ensembles among them."""
        ensembles = [method for method in map(get_method, self.config.methods) if isinstance(method, EnsembleOf)]
        members = [name for ensemble in ensembles for name in ensemble.members(self)]
        return list(dict.fromkeys([*self.config.methods, *members]))

    @property
    def operators_used(self) -> list[Operator]:
        """GUDA's operator and those of the methods and variants."""
        methods = map(get_method, [*self.methods_used, *self.variants])
        names = [GUDA, *(method.operator for method in methods if isinstance(method, Unlearned))]
        return [self.operators[name] for name in dict.fromkeys(names)]

    @cached_property
    def schedules(self) -> dict[str, dict[str, Any]]:
        """Schedules of diffusion steps by name, as changes to the configured one, which comes first as ''."""
        return {"": {}} | {variant.schedule: variant.elbo_steps for variant in self.variants.values()}

    def unlearned(self, operator: str, group: str, run: str = "") -> str:
        """Name of the model that has unlearned `group` in a run of `unlearn.runs`.

        The operator makes it, unless it is imported in place of GUDA's and its variants'. An operator with GUDA's
        settings shares GUDA's model.
        """
        made, usual = self.operators[operator + run], self.operators[GUDA + run]
        same = made.kind is usual.kind and made.settings(self, group) == usual.settings(self, group)
        variant = operator not in operators_of(self)
        if (same or variant) and group in self.config.unlearn.imported:
            return unlearned_model(IMPORTED, group)
        return unlearned_model((GUDA if same else operator) + run, group)

    @property
    def oracles(self) -> list[str]:
        """Names of the oracle's score files, the reference first; empty if nothing is retrained."""
        return [f"logo-{seed}" for seed in self.config.oracle.seeds]

    @property
    def subset_seed(self) -> int:
        """Seed for training models on random subsets of the groups."""
        seed = self.config.lds.training_seed
        return self.config.oracle.seeds[0] if seed is None else seed

    @property
    def score_names(self) -> list[str]:
        """Every method with a score file: the oracles, then the configured methods."""
        return [*self.oracles, *self.config.methods]

    def table_name(self, name: str) -> str:
        """A score file's name in the tables, where the reference oracle is called 'logo'."""
        return "logo" if name in self.oracles[:1] else name

    @cache  # noqa: B019 - one experiment lives as long as the process
    def method_spec(self, name: str) -> Spec:
        return get_method(name).spec(self)

    def method_files(self, name: str) -> list[str]:
        """Inputs of a method's scores: the files it reads and the records of their cost."""
        needs = get_method(name).needs(self.method_spec(name), self.paths)
        return list(dict.fromkeys([*needs.files, *needs.build_records, *needs.query_records]))

    @cached_property
    def elbo_settings(self) -> ElboSettings:
        return self.elbo_settings_of("")

    def elbo_settings_of(self, schedule: str) -> ElboSettings:
        window = self.config.elbo.steps.model_copy(update=self.schedules[schedule])
        return ElboSettings(
            noise_schedule=self.config.noise_schedule,
            seed=self.config.elbo.seed,
            steps=elbo_steps(window).tolist(),
            first=window.first,
            last=window.last,
            precision=self.config.elbo.precision,
        )

    def group_of(self, name: str) -> str:
        """The group with this name, or with this file name, as in the wildcards of rules."""
        return self._group_of_file.get(name, name)

    @cache  # noqa: B019 - one experiment lives as long as the process
    def group_spec(self, group: str) -> GroupSpec:
        group = self.group_of(group)
        if group not in self.groups:
            raise ConfigError(f"there is no group {group!r}; {nearest_name(group, list(self.groups))}")
        return GroupSpec(
            dataset=self.config.data.dataset,
            group=group,
            members=digest_lines(self.groups[group]),
        )

    def describe_groups(self) -> str:
        """One line with the number of training images and the groups' sizes; of many groups, only the first."""
        named = [f"{group} ({len(members)})" for group, members in self.groups.items()][:SHOWN_GROUPS]
        more = len(self.groups) - len(named)
        return (
            f"{len(self.dataset.table)} training images, {self.in_no_group} in no group; {len(self.groups)} groups: "
            f"{', '.join(named)}{f' and {more} more' if more else ''}"
        )

    def notes(self) -> list[str]:
        """Notes for the user before anything runs, one sentence each."""
        datasets = [self.dataset, *([] if self.given_queries is None else [self.given_queries])]
        notes = [note for each in datasets for note in each.notes]
        notes += [*self._notes_of_groups, *size_notes(self), *repeated_images(self.dataset.table, self.groups)]
        notes += [note for source, key in self.imports.values() for note in notes_of(source, key)]
        notes += [note for name in self.config.methods for note in get_method(name).notes(self)]
        return list(dict.fromkeys([*notes, *self.family.notes(), *health_notes(self)]))

    def group_sizes_spec(self) -> GroupSizesSpec:
        return GroupSizesSpec(members={group: self.group_digest(group) for group in self.groups})

    @cache  # noqa: B019
    def model_spec(self, model: str) -> ModelSpec:
        """Spec of a model by its name under models/.

        Names are base, base-SEED, conditional, classifier, logo-SEED/GROUP, proxy/base, proxy/GROUP, OPERATOR/GROUP,
        imported/GROUP, subset-SEED/INDEX, removed-SEED/MEMBERS, or exemplars-SET/GROUP.
        """
        if model in self.imports:
            return self.family.imported(*self.imports[model])
        if model == BASE:
            return self.family.trained(self.config.training.seed, None)
        if re.fullmatch(BASES, model):
            return self.family.trained(int(model.removeprefix(f"{BASE}-")), None)
        if model == CONDITIONAL:
            settings = self.config.attribution.conditional
            return ConditionalSpec(**self._of_groups(settings.training), label_dropout=settings.label_dropout)
        if model == CLASSIFIER:
            return ClassifierSpec(**self._of_groups(self.config.attribution.classifier.training))
        family, name = model.split("/")
        group = self.group_of(name)
        if family == PROXY:
            return proxy_spec(self, None if model == BASE_PROXY else self.group_digest(group))
        if family.startswith("logo-"):
            return self.family.trained(int(family.removeprefix("logo-")), self.group_digest(group))
        if family.startswith(("subset-", "removed-")):
            seed = self.subset_seed if family.startswith("subset-") else self.config.oracle.seeds[0]
            return self.family.trained(seed, self.exclusion_spec(model).digest())
        if family.split("-")[0] == EXEMPLARS:
            return tuned_spec(self, group)
        return self.operators[family].spec(self, group)

    def operator_files(self, operator: str, group: str) -> list[str]:
        """Files that the operator reads besides the base model, the training samples and the group's members."""
        return self.operators[operator].files(self, self.group_of(group))

    def neighbors_name(self, settings: Unlearning, group: str) -> str:
        """Name of a group's neighbors: its file name, prefixed by their number if that is not the configured one."""
        usual, file = self.config.unlearn.for_group(group).n_neighbors, group_file(group)
        return file if settings.n_neighbors == usual else f"k={settings.n_neighbors}/{file}"

    @cached_property
    def in_no_group(self) -> int:
        """Number of training images in no group."""
        return len(self.dataset.table) - len(set().union(*self.groups.values()))

    @cached_property
    def kept_groups(self) -> list[list[str]]:
        """The groups that each random subset keeps."""
        return kept_by_subset(list(self.groups), self.config.lds, rest=self.in_no_group > 0)

    @cached_property
    def left_out_groups(self) -> list[list[str]]:
        """The groups that each random subset leaves out."""
        return [[group for group in self.groups if group not in kept] for kept in self.kept_groups]

    @cached_property
    def subsets(self) -> list[TrainedSubset]:
        """The random subsets, each with its model."""
        names = [subset_model(self.config.lds.seed, index) for index in range(self.config.lds.subsets)]
        return [
            TrainedSubset(model=name, digest=self.model_digest(name), kept=kept)
            for name, kept in zip(names, self.kept_groups, strict=True)
        ]

    @cache  # noqa: B019
    def exclusion_spec(self, model: str) -> ExclusionSpec:
        """Spec of the images that subset-SEED/INDEX or removed-SEED/MEMBERS is trained without."""
        family, name = model.split("/")
        if family.startswith("removed-"):
            return ExclusionSpec(members=name)
        ids = set().union(*(self.groups[group] for group in self.left_out_groups[int(name)]))
        return ExclusionSpec(members=digest_lines(sorted(ids)))

    def regenerated_spec(self, model: str, bucket: str) -> Spec:
        """Spec of the queries regenerated by another model from the same noise."""
        return self.bucket_spec(bucket).model_copy(update={"base": self.model_digest(model)})

    def _of_groups(self, changes: dict[str, Any]) -> dict[str, Any]:
        """Spec fields of a network trained on all groups, with these changes to the base model's training."""
        return {
            "images": self.images_digest,
            "members": {group: self.group_digest(group) for group in self.groups},
            "unet": self.config.unet,
            "noise_schedule": self.config.noise_schedule,
            "training": self.config.training.changed(changes),
        }

    @cached_property
    def labels(self) -> dict[str, int]:
        """The class label of each group in conditional networks and classifiers."""
        return {group: number for number, group in enumerate(sorted(self.groups))}

    def neighbors_spec(self, group: str, n_neighbors: int | None = None) -> NeighborsSpec:
        """Spec of a group's neighbors; None: the configured number."""
        return NeighborsSpec(
            images=self.images_digest,
            group=self.group_digest(group),
            n_neighbors=n_neighbors or self.config.unlearn.for_group(self.group_of(group)).n_neighbors,
        )

    @cache  # noqa: B019
    def bucket_spec(self, bucket: str) -> Spec:
        """Spec of the images to score: a bucket of queries, or the calibration sample."""
        if bucket == CALIBRATION:
            return self.calibration_spec()
        if bucket not in self.buckets:
            raise ConfigError(f"there is no bucket {bucket!r} of queries; {nearest_name(bucket, list(self.buckets))}")
        if self.given_queries is not None:
            return QueryFilesSpec(
                bucket=bucket,
                buckets=self.config.queries.buckets,
                shape=list(self.dataset.image_shape),
                content=content_digest(of_bucket(self.given_queries, self.buckets[bucket])),
            )
        if self.query_source == "exemplars":
            return exemplar_queries_spec(self, bucket)
        return self.family.generated(bucket)

    def pixels_digest(self, samples: str) -> str:
        """Digest of the images of the training set (TRAINING), the calibration sample or a (conditional/) bucket."""
        return self.images_digest if samples == TRAINING else self.bucket_digest(PurePosixPath(samples).name)

    def pixels(self, samples: str) -> str:
        """The file with these images."""
        return self.paths.images() if samples == TRAINING else self.paths.queries(PurePosixPath(samples).name)

    def scored_digest(self, samples: str) -> str:
        """Digest of the same images as the networks see them."""
        return self.family.samples_digest(samples)

    def scored_samples(self, samples: str) -> str:
        """The file with these samples."""
        return self.family.samples(samples)

    def scored_digests(self) -> dict[str, str]:
        """Digest of each bucket of queries as the networks see it."""
        return {bucket: self.scored_digest(bucket) for bucket in self.buckets}

    def bucket_digests(self) -> dict[str, str]:
        return {bucket: self.bucket_digest(bucket) for bucket in self.buckets}

    def calibration_spec(self) -> CalibrationSpec:
        settings = self.config.attribution.calibration
        return CalibrationSpec(images=self.images_digest, count=settings.count, seed=settings.seed)

    def elbo_spec(self, model: str, bucket: str, schedule: str = "") -> ElboSpec | ConditionalElboSpec:
        """Spec of a bucket's ELBO terms under a model, or under conditional/GROUP: conditioned on that group."""
        values = {
            "model": self.model_digest(self.weights_of(model)),
            "samples": self.scored_digest(self.elbo_samples(model, bucket)),
            "elbo": self.elbo_settings_of(schedule),
        }
        if model.startswith(f"{CONDITIONAL}/"):
            return ConditionalElboSpec(**values, label=self.labels[self.group_of(model.split("/")[1])])
        return ElboSpec(**values)

    def weights_of(self, model: str) -> str:
        """Name under models/ of the weights that the ELBO terms belong to."""
        return self.family.conditional if model.split("/")[0] == CONDITIONAL else model

    def elbo_samples(self, model: str, bucket: str) -> str:
        """Name of the samples that the ELBO terms are computed on."""
        return self.family.conditional_samples(bucket) if model.split("/")[0] == CONDITIONAL else bucket

    def posteriors_spec(self, bucket: str) -> PosteriorsSpec:
        return PosteriorsSpec(
            model=self.model_digest(CLASSIFIER),
            samples=self.bucket_digest(bucket),
            elbo=self.elbo_settings,
        )

    def scored_files(self, model: str, bucket: str, schedule: str) -> list[str]:
        """Files that already contain a schedule's terms: the configured schedule's, if it includes all the steps."""
        scored = schedule and set(self.elbo_settings_of(schedule).steps) <= set(self.elbo_settings.steps)
        return [self.paths.elbo(model, bucket)] if scored else []

    def query_table_spec(self) -> QueryTableSpec:
        known = self.known_of_queries
        return QueryTableSpec(
            buckets=self.bucket_digests(), known=None if known is None else digest(known.to_csv(index=False))
        )

"""The jobs that a run still has to do, and the work in each, as far as planning can tell.

They are found as Snakemake finds them, backwards from the tables and figures: a file that exists and matches its spec
is up to date, and its inputs are not visited.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from guda.config.scoring import SAMPLED_AT_ONCE
from guda.core.artifacts import made_for
from guda.core.paths import (
    BASE,
    BASE_PROXY,
    BASES,
    CALIBRATION,
    CLASSIFIER,
    CONDITIONAL,
    EXEMPLARS,
    PROXY,
    TRAINING,
    is_proxy,
)
from guda.core.records import FORWARD_AND_BACKWARD
from guda.methods import GRADIENT_METHODS
from guda.methods.proxy.plan import relative_size
from guda.plan import page, precomputed, quality, reports
from guda.plan.exemplars import exemplars_spec, generators
from guda.plan.families import FLOAT
from guda.plan.resources import needs
from guda.specs import ClassifierSpec, ConditionalSpec, ExemplarQueriesSpec, Spec, TrainSpec, TunedSpec
from guda.unlearning import GUDA

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

DATA, COMPARED, TABLES = "data", "kernel and features", "tables and figures"
RECORD = ".record.json"
KINDS = ("table", "train", "unlearn", "sample", "elbo", "features", "kernel", "neighbors")


class Job(NamedTuple):
    """A job that a run would start.

    `phase` is the part of the run it belongs to, as shown to the user; `kind`, one of KINDS, is what its speed is
    measured as, and `work` is in network evaluations, or in pairs of images for neighbors. `output` is its main file;
    `inputs` are the files it reads or, in `to_do`, the main files of the pending jobs it waits for; `size` is the bytes
    it writes apart from models.
    """

    phase: str
    kind: str
    output: str
    inputs: list[str]
    spec: Spec
    work: float = 0
    size: float = 0


class Jobs:
    """The jobs of an experiment with models trained from scratch, looked up by the files they write."""

    def __init__(self, experiment: Experiment):
        self.experiment, self.paths = experiment, experiment.paths
        self.bytes = math.prod(experiment.dataset.image_shape)

    def to_do(self) -> list[Job]:
        """All jobs that a full run still has to do; of counterfactual removal, those known before sets are chosen."""
        found: dict[str, Job] = {}
        output_of: dict[str, str] = {}  # from a file to the main output of its job
        files = [file for file in reports.final_outputs(self.experiment) if file in self._tables]
        while files:
            file = files.pop()
            if file in output_of:
                continue
            job = self.making(file)
            output_of[file] = job.output
            if job.output not in found and not self._made(job):
                found[job.output] = job
                files += job.inputs
        made = set(output_of.values()) - found.keys()
        after = {output: {output_of[file] for file in job.inputs} - made for output, job in found.items()}
        return [job._replace(inputs=sorted(after[output])) for output, job in found.items()]

    def _made(self, job: Job) -> bool:
        file = self.experiment.on_disk.results / PurePosixPath(job.output).relative_to(self.paths.results)
        return file.exists() and made_for(file) == job.spec.canonical()

    def making(self, file: str) -> Job:
        """The job that writes a result, or the record beside one."""
        experiment, paths = self.experiment, self.paths
        if file in self._tables:
            spec, inputs = self._tables[file]
            return Job(TABLES, "table", file, inputs, spec())
        path = PurePosixPath(file)
        name = path.relative_to(paths.answers if path.is_relative_to(paths.answers) else paths.results)
        stem = str(name).removesuffix(RECORD) if file.endswith(RECORD) else str(name.with_suffix(""))
        match stem.split("/"):
            case ["data", "images"]:
                size = len(experiment.dataset.table) * self.bytes
                return Job(DATA, "table", paths.images(), [], experiment.images_spec, size=size)
            case ["data", "table"]:
                return Job(DATA, "table", paths.table(), [], experiment.dataset.table_spec())
            case ["groups", group]:
                return Job(DATA, "table", paths.group(group), [], experiment.group_spec(group))
            case ["exclusions", *model]:
                return self._exclusion("/".join(model))
            case ["neighbors", *nearest, group]:
                return self._neighbors("/".join([*nearest, group]), group, nearest)
            case ["models", *model, _]:
                return self._model("/".join(model))
            case ["queries", "queries"]:
                size, table = len(experiment.queries) * self.bytes, experiment.query_table_spec()
                return Job(DATA, "table", paths.query_table(), self._buckets, table, size=size)
            case ["queries", bucket]:
                return self._queries(bucket)
            case ["report", "redrawn"]:
                return self._redrawn()
            case ["report", "maps"]:
                return self._maps()
            case ["scores", method]:
                inputs = experiment.method_files(method)
                return Job(TABLES, "table", paths.scores(method), inputs, experiment.method_spec(method))
            case [folder, *model, bucket] if folder.startswith("elbo"):
                return self._elbo("/".join(model), bucket, folder.removeprefix("elbo"))
            case [stage, *names]:
                return self._of_method(stage, names)
        raise ValueError(file)

    @cached_property
    def _tables(self) -> dict[str, tuple[Callable[[], Spec], list[str]]]:
        """The final tables and figures: each file's spec, and the inputs from which its dependencies are found."""
        experiment, paths = self.experiment, self.paths
        scores = [paths.scores(name) for name in experiment.score_names]
        swept = [paths.scores(name) for name in [*experiment.oracles, *experiment.variants]]
        groups, after_rankings = [paths.group(group) for group in experiment.groups], [paths.rankings()]
        by_source = [*after_rankings, paths.table(), paths.images(), *groups]
        specs: dict[str, tuple[Callable[..., Spec], list[str]]] = {
            paths.rankings(): (reports.rankings_spec, [*scores, paths.query_table()]),
            paths.figure(): (reports.figure_spec, after_rankings),
            paths.group_sizes(): (lambda experiment: experiment.group_sizes_spec(), groups),
            paths.metrics(): (reports.metrics_spec, after_rankings),
            paths.cost_figure(): (reports.cost_figure_spec, [paths.metrics()]),
            paths.significance(): (reports.significance_spec, after_rankings),
            paths.metrics_by_source(): (reports.sources_spec, by_source),
            paths.quality(): (quality.quality_spec, quality.quality_files(experiment)),
            paths.curves(): (
                quality.curves_spec,
                [paths.model_record(model) for model in quality.curves_spec(experiment).models],
            ),
            paths.curves_figure(): (quality.curves_figure_spec, [paths.curves()]),
            paths.samples_figure(): (quality.samples_figure_spec, [paths.images(), *self._buckets]),
            paths.page(): (page.page_spec, [*page.page_files(experiment), *scores]),
            paths.screen(): (reports.screen_spec, scores),
            paths.sweep(): (reports.sweep_spec, swept),
            paths.sweep_figure(): (reports.sweep_figure_spec, [paths.sweep()]),
        }
        if reports.repeated(experiment):
            specs[paths.reliability()] = (reports.reliability_spec, reports.reliability_files(experiment))
        if experiment.query_source == "exemplars":
            specs[paths.exemplars()] = (exemplars_spec, [*after_rankings, paths.query_table()])
        if experiment.config.lds.subsets:
            models = reports.lds_models(experiment)
            elbo = [paths.elbo(model, bucket) for model in models for bucket in experiment.buckets]
            specs[paths.lds()] = (reports.lds_spec, [*after_rankings, *elbo])
        if experiment.config.likelihood.queries:
            names = reports.likelihood_table_spec(experiment).likelihoods
            specs[paths.likelihood_table()] = (reports.likelihood_table_spec, [*map(paths.likelihood, names), *scores])
        return {path: (partial(spec, experiment), inputs) for path, (spec, inputs) in specs.items()}

    @property
    def _buckets(self) -> list[str]:
        return [self.paths.queries(bucket) for bucket in self.experiment.buckets]

    def _exclusion(self, model: str) -> Job:
        groups = self.experiment.left_out_groups[int(PurePosixPath(model).name)]
        spec = self.experiment.exclusion_spec(model)
        return Job(DATA, "table", self.paths.exclusion(model), [*map(self.paths.group, groups)], spec)

    def _neighbors(self, name: str, group: str, nearest: list[str]) -> Job:
        experiment, n_neighbors = self.experiment, int(nearest[0].removeprefix("k=")) if nearest else None
        spec = experiment.neighbors_spec(group, n_neighbors)
        n_forget, n_images = len(experiment.groups[experiment.group_of(group)]), len(experiment.dataset.table)
        inputs, size = [self.paths.images(), self.paths.group(group)], 12 * n_forget * spec.n_neighbors
        pairs = n_forget * (n_images - n_forget)
        return Job("unlearning", "neighbors", self.paths.neighbors(name), inputs, spec, pairs, size)

    def _model(self, name: str) -> Job:
        experiment, paths = self.experiment, self.paths
        spec, weights, images = experiment.model_spec(name), paths.model_weights(name), paths.images()
        if name in experiment.imports:
            return Job("imported models", "elbo", weights, [images], spec)
        folder, _, group = name.partition("/")
        if isinstance(spec, TrainSpec | ConditionalSpec | ClassifierSpec | TunedSpec):
            left_out = [] if not group else [paths.exclusion(name)]
            if isinstance(spec, TunedSpec):
                left_out = [paths.model_weights(BASE)]
            elif name == BASE_PROXY:
                left_out = []
            elif is_proxy(name) or folder.startswith("logo-"):
                left_out = [paths.group(experiment.group_of(group))]
            elif isinstance(spec, ConditionalSpec | ClassifierSpec):
                left_out = [paths.group(each) for each in experiment.groups]
            work = spec.training.steps * spec.training.batch_size * FORWARD_AND_BACKWARD * self._relative_size(name)
            return Job(_phase(name), "train", weights, [images, *left_out], spec, work)
        operator, group = experiment.operators[folder], experiment.group_of(group)
        inputs = [paths.model_weights(BASE), images, paths.group(group), *experiment.operator_files(folder, group)]
        work = operator.evaluations(operator.settings(experiment, group))
        return Job(_phase(name), "unlearn", weights, inputs, spec, work)

    def _queries(self, bucket: str) -> Job:
        experiment, output = self.experiment, self.paths.queries(bucket)
        spec: Any = experiment.bucket_spec(bucket)
        if bucket == CALIBRATION:
            size = experiment.config.attribution.calibration.count * self.bytes
            return Job(DATA, "table", output, [self.paths.images()], spec, size=size)
        n_queries = len(experiment.buckets[bucket])
        if experiment.given_queries is not None:
            return Job("queries", "table", output, [], spec, size=n_queries * self.bytes)
        parts = list(spec.of_groups.values()) if isinstance(spec, ExemplarQueriesSpec) else [spec]
        sampled = sum(math.ceil(len(part.ids) / SAMPLED_AT_ONCE) * SAMPLED_AT_ONCE for part in parts)
        work = sampled * experiment.config.queries.sampling_steps
        inputs = [*map(self.paths.model_weights, generators(experiment, bucket))]
        return Job("queries", "sample", output, inputs, spec, work, n_queries * self.bytes)

    def _redrawn(self) -> Job:
        """Queries regenerated by models without some of the groups, in batches that are always full."""
        paths, spec = self.paths, page.redrawn_spec(self.experiment)
        n_queries = sum(len(each.ids) for each in spec.queries)
        models = min(len(spec.models), spec.groups * n_queries)
        work = models * len(spec.queries) * SAMPLED_AT_ONCE * self.experiment.config.queries.sampling_steps
        inputs = [paths.rankings(), *map(paths.model_weights, spec.model_names.values())]
        return Job("page", "sample", paths.redrawn(), inputs, spec, work, spec.groups * n_queries * self.bytes)

    def _maps(self) -> Job:
        paths, spec = self.paths, page.maps_spec(self.experiment)
        inputs = [paths.rankings(), *map(paths.model_weights, [BASE, *spec.model_names.values()]), *self._buckets]
        pairs = len(spec.ids) * min(spec.groups, len(spec.models))
        work = (len(spec.ids) + pairs) * spec.noises * len(spec.elbo.steps)
        return Job("page", "elbo", paths.maps(), inputs, spec, work, 2 * FLOAT * pairs * self.bytes)

    def _samples(self, name: str) -> int:
        """Number of images in a bucket or the calibration sample."""
        n_images = len(self.experiment.dataset.table)
        if name == CALIBRATION:
            return min(n_images, self.experiment.config.attribution.calibration.count)
        return n_images if name == TRAINING else len(self.experiment.buckets[name])

    def _elbo(self, model: str, bucket: str, schedule: str) -> Job:
        experiment, paths = self.experiment, self.paths.with_schedule(schedule)
        spec = experiment.elbo_spec(model, bucket, schedule)
        n, steps, scored = self._samples(bucket), spec.elbo.steps, experiment.scored_files(model, bucket, schedule)
        inputs = [paths.model_weights(experiment.weights_of(model)), paths.queries(bucket), *scored]
        phase, work = _phase(model), 0 if scored else n * len(steps) * self._relative_size(model)
        phase = phase if phase.startswith("oracle") else "scoring"
        return Job(phase, "elbo", paths.elbo(model, bucket), inputs, spec, work, FLOAT * n * len(steps))

    def _relative_size(self, model: str) -> float:
        """Operations of a model's network relative to the base model's."""
        return relative_size(self.experiment) if is_proxy(model) else 1

    def _of_method(self, stage: str, names: list[str]) -> Job:
        """Jobs of methods that compute something for all groups at once."""
        experiment, paths = self.experiment, self.paths
        base, images, bucket = paths.model_weights(BASE), paths.images(), names[-1]
        samples = images if bucket == TRAINING else paths.queries(bucket)
        match stage:
            case "features" if names[0] in GRADIENT_METHODS:
                spec: Spec = precomputed.gradients_spec(experiment, names[0], bucket)
                return self._other("gradients", paths.features(names[0], bucket), [base, samples], spec)
            case "features":
                spec, n = precomputed.features_spec(experiment, bucket), self._samples(bucket)
                size = FLOAT * n * experiment.family.network().features
                return Job(COMPARED, "features", paths.features(names[0], bucket), [base, samples], spec, n, size)
            case "kernel":
                return self._kernel(bucket)
            case "fisher":
                return self._other("fisher", paths.fisher(), [base, images], precomputed.fisher_spec(experiment))
            case "influence":
                fisher = [paths.fisher()] if names[0] == "abu" else []
                spec = precomputed.influence_spec(experiment, names[0], bucket)
                return self._other(
                    "influence", paths.influence(names[0], bucket), [base, images, samples, *fisher], spec
                )
            case "posteriors":
                inputs = [paths.model_weights(CLASSIFIER), samples]
                return self._other("elbo", paths.posteriors(bucket), inputs, experiment.posteriors_spec(bucket), stage)
            case "mixture":
                networks = [paths.model_weights(name) for name in (CONDITIONAL, CLASSIFIER)]
                spec = precomputed.mixture_spec(experiment, bucket)
                return self._other("mixture", paths.mixture(bucket), [*networks, samples], spec)
            case "likelihood":
                model = "/".join(names)
                inputs, spec = [paths.model_weights(model), *self._buckets], reports.likelihood_spec(experiment, model)
                return self._other("likelihood", paths.likelihood(model), inputs, spec)
        raise ValueError(f"{stage}: no known job writes {'/'.join(names)}")

    def _kernel(self, bucket: str) -> Job:
        experiment, paths, n = self.experiment, self.paths, self._samples(bucket)
        spec, features = precomputed.kernel_spec(experiment, bucket), precomputed.kernel_features(experiment, bucket)
        inputs = [paths.model_weights(BASE), paths.images(), paths.queries(bucket), *features]
        work = n * len(spec.elbo.steps)
        return Job(COMPARED, "kernel", paths.kernel(bucket), inputs, spec, work, 8 * work * len(experiment.groups))

    def _other(self, stage: str, output: str, inputs: list[str], spec: Spec, phase: str = "") -> Job:
        """A job whose work is that of the stage's resource estimate, and whose speed is that of scoring."""
        return Job(phase or stage, "elbo", output, inputs, spec, self._work[stage])

    @cached_property
    def _work(self) -> dict[str, float]:
        """Network evaluations of the largest job of each stage."""
        network = self.experiment.family.network()
        return {stage: need.operations / network.operations for stage, need in needs(self.experiment).items()}


def _phase(model: str) -> str:
    """The phase a model belongs to: the oracle's even if a method retrains only one of its models."""
    if model == BASE:
        return "base model"
    if oracle := re.match(rf"logo-(\d+)/|{BASES}$", model):
        return f"oracle, seed {oracle[1] or oracle[2].removeprefix('-')}"
    family = re.split("[-@/]", model)[0]
    names = {
        GUDA: "unlearning",
        EXEMPLARS: "queries",
        "subset": "lds",
        PROXY: "proxies",
        CONDITIONAL: "conditional network",
        CLASSIFIER: "classifier",
    }
    return names.get(family, f"unlearning by {family}")

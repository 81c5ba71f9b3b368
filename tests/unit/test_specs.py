"""The canonical text of a spec: what a job is given, and what its files carry. Torch-free."""

import json

import pytest
from experiments import DATASET, experiment
from text_experiments import text_experiment

from guda import specs
from guda.core.errors import GudaError
from guda.core.paths import (
    BASE,
    CALIBRATION,
    CLASSIFIER,
    CONDITIONAL,
    TRAINING,
    conditioned_model,
    tuned_model,
    unlearned_model,
)
from guda.core.store import StoredSpec
from guda.methods import METHODS
from guda.methods.random.plan import RandomSpec
from guda.plan import page, quality, reports
from guda.plan.config import load_config
from guda.plan.exemplars import exemplars_spec
from guda.plan.experiment import Experiment
from guda.plan.precomputed import mixture_spec
from guda.plan.reports import figure_spec, metrics_spec, rankings_spec, significance_spec, sources_spec
from guda.specs import QueryFilesSpec, Spec, TrainSpec

ARGUMENT_LIMIT = 128 * 1024


def all_specs(cls=Spec):
    known = [sub for sub in cls.__subclasses__() if sub.__module__.startswith("guda.")]  # and not those of tests
    found = [each for sub in known for each in [sub, *all_specs(sub)]]
    return [each for each in found if "stage" in vars(each)]  # and not what several derive from


def test_every_stage_has_a_name_and_a_version_of_its_own():
    stages = [(spec.stage, spec.version) for spec in all_specs()]
    assert len(stages) == len(set(stages))
    assert {type(spec) for spec in default_specs()} == set(all_specs()) - {StoredSpec}  # of no job by itself


def default_specs():
    applicable = [name for name, method in METHODS.items() if method.applies(Experiment(load_config({}), DATASET))]
    settings = {"queries": {"buckets": 1}, "methods": applicable, "lds": {"subsets": 12}}
    of = Experiment(load_config(settings), DATASET)
    group = next(iter(of.groups))
    yield from [of.images_spec, DATASET.table_spec(), of.group_spec(group), of.neighbors_spec(group)]
    yield of.group_sizes_spec()
    yield from [of.model_spec(BASE), of.calibration_spec()]
    yield from [of.model_spec(unlearned_model(operator, group)) for operator in of.operators]
    yield from [of.bucket_spec("bucket-0000"), of.elbo_spec(BASE, "bucket-0000"), of.query_table_spec()]
    yield METHODS["abu"].fisher_spec(of)
    yield from [METHODS[name].influence_spec(of, "bucket-0000") for name in ("abu", "mucs")]
    yield from [of.method_spec(name) for name in of.score_names]
    yield METHODS["embedding"].features_spec(of, TRAINING)
    yield METHODS["kernel"].terms_spec(of, "bucket-0000")
    yield from [reports.likelihood_spec(of, BASE), reports.likelihood_table_spec(of)]
    yield from [rankings_spec(of), metrics_spec(of), significance_spec(of), sources_spec(of), figure_spec(of)]
    yield from [reports.cost_figure_spec(of), quality.quality_spec(of), quality.samples_figure_spec(of)]
    yield from [
        quality.curves_spec(of),
        quality.curves_figure_spec(of),
        page.redrawn_spec(of),
        page.maps_spec(of),
        page.page_spec(of),
    ]
    yield METHODS["das"].features_spec(of, TRAINING)
    brought = Experiment(load_config({"model": {"pretrained": f"someone/model@{'0' * 40}"}}), DATASET)
    yield brought.model_spec(BASE)
    retrained = Experiment(load_config({"lds": {"subsets": 3}, "removal": {"queries": 2}}), DATASET)
    yield from [reports.lds_spec(retrained), reports.removal_sets_spec(retrained)]
    yield from [reports.removal_spec(retrained), reports.removal_figure_spec(retrained)]
    yield retrained.exclusion_spec(reports.subset_models(retrained)[0])
    rivals = Experiment(load_config({"methods": ["conditional_elbo", "classifier", "guda_esd"]}), DATASET)
    yield from [rivals.model_spec(CONDITIONAL), rivals.model_spec(CLASSIFIER)]
    yield from [rivals.elbo_spec(conditioned_model(group), "bucket-0000"), rivals.posteriors_spec("bucket-0000")]
    yield mixture_spec(rivals, "bucket-0000")
    yield from [rivals.method_spec(name) for name in rivals.config.methods]
    repeated = Experiment(load_config({"unlearn": {"seeds": [0, 1]}}), DATASET)
    yield from [repeated.method_spec("guda"), reports.reliability_spec(repeated)]
    own_base = Experiment(load_config({"oracle": {"own_base": True}}), DATASET)
    yield own_base.method_spec("logo-1")
    swept = Experiment(load_config({"sweep": {"nearest": [{"top_k": 2}]}}), DATASET)
    yield from [reports.sweep_spec(swept), reports.sweep_figure_spec(swept)]
    yield reports.screen_spec(Experiment(load_config({"screen": {"method": "nearest", "groups": 2}}), DATASET))
    yield QueryFilesSpec(bucket="bucket-0000", buckets=1, shape=[1, 8, 8], content="digest")
    tuned = Experiment(load_config({"queries": {"source": "exemplars"}}), DATASET)
    yield from [tuned.model_spec(tuned_model("", group)), tuned.bucket_spec("bucket-0000"), exemplars_spec(tuned)]
    yield from text_specs()


def text_specs():
    of = text_experiment(methods=["guda", "prompt"])
    group = next(iter(of.groups))
    family = of.family
    yield from [family.pipeline_spec(), family.prompts_spec(TRAINING), family.encoded_spec(TRAINING)]
    yield family.encoded_anchors_spec()
    yield from [of.model_spec(BASE), of.model_spec(unlearned_model("guda", group)), of.bucket_spec("bucket-0000")]
    yield from [of.method_spec("prompt"), METHODS["abu"].fisher_spec(of)]
    yield reports.removal_spec(text_experiment(removal={"queries": 2}))
    told = text_experiment(methods=["conditional_elbo", "conditional_posterior", "guda_esd", "das"])
    yield from [told.model_spec(unlearned_model("guda_esd", group)), *map(told.method_spec, told.config.methods)]
    yield told.elbo_spec(conditioned_model(group), "bucket-0000")
    adapted = text_experiment(methods=["das"], attribution={"das": {"parameters": "lora"}})
    yield METHODS["das"].features_spec(adapted, TRAINING)
    yield text_experiment(model={"pretrained": f"someone/model@{'0' * 40}"}).model_spec(BASE)


@pytest.mark.parametrize("spec", list(default_specs()), ids=lambda spec: spec.stage)
def test_a_default_spec_is_canonical_and_comes_back_and_fits_an_argument(spec):
    text = spec.canonical()
    values = json.loads(text)
    assert text == json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert (values["stage"], values["version"]) == (spec.stage, spec.version)
    again = type(spec).parse(text)
    assert again == spec
    assert again.canonical() == text
    assert len(text.encode()) < ARGUMENT_LIMIT


def test_of_many_groups_only_specs_that_rules_pass_in_files_grow_beyond_an_argument():
    of = experiment(data={"group_by": "id", "groups": None})
    group = next(iter(of.groups))
    assert len(of.groups) == 1797
    assert len(of.method_spec("guda").canonical().encode()) > ARGUMENT_LIMIT
    passed = [of.group_spec(group), of.model_spec(unlearned_model("guda", group)), of.elbo_spec(BASE, CALIBRATION)]
    passed += [of.query_table_spec(), rankings_spec(of), metrics_spec(of), figure_spec(of)]
    assert all(len(spec.canonical().encode()) < 8192 for spec in passed)


def test_the_canonical_text_is_pinned():
    spec = specs.NeighborsSpec(images="i", group="g", n_neighbors=3)
    assert spec.canonical() == '{"group":"g","images":"i","n_neighbors":3,"stage":"neighbors","version":1}'
    # echo -n TEXT | sha256sum | cut -c -20
    assert spec.digest() == "11f34e2a1073315da97d"


def test_numbers_and_unicode_stand_as_they_are():
    assert '"decisive_ratio":2.0' in metrics_spec(experiment(metrics={"decisive_ratio": 2})).canonical()
    assert "é" in RandomSpec(groups=["é"], buckets={}, seed=0).canonical()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage": "unlearn"}, "stage unlearn version 1, not train 1"),
        ({"version": 0}, "stage train version 0, not train 1"),
        ({"version": None}, "stage train version None, not train 1"),
        ({"surplus": 1}, "surplus"),
        ({"images": 5}, "images"),
    ],
)
def test_another_stages_spec_is_refused(change, message):
    values = json.loads(experiment().model_spec(BASE).canonical()) | change
    with pytest.raises(GudaError, match="--spec is not a valid spec of stage train") as caught:
        TrainSpec.parse(json.dumps(values))
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}"])
def test_what_is_no_spec_is_refused(text):
    with pytest.raises(GudaError, match="--spec is not a valid spec of stage train"):
        TrainSpec.parse(text)


def test_a_missing_stage_is_refused():
    values = json.loads(experiment().model_spec(BASE).canonical())
    del values["stage"], values["version"]
    with pytest.raises(GudaError):
        TrainSpec.parse(json.dumps(values))

"""Specs form a chain: a change of the configuration changes exactly the specs of what depends on it. Torch-free."""

from fnmatch import fnmatch

import pytest
from experiments import DATASET, TINY, experiment
from text_experiments import text_experiment

from guda.core.errors import ConfigError, DataError
from guda.core.paths import (
    BASE,
    CALIBRATION,
    CLASSIFIER,
    CONDITIONAL,
    conditioned_model,
    logo_model,
    unlearned_model,
)
from guda.data.datasets import Dataset
from guda.methods import METHODS, get_method
from guda.plan import reports
from guda.plan.checks import size_notes
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.plan.precomputed import mixture_spec
from guda.plan.reports import figure_spec, metrics_spec, rankings_spec, significance_spec, sources_spec

TABLES = ["rankings", "metrics", "significance", "sources", "figure"]
UNLEARNED = ["model:guda/*", "elbo:guda/*", "scores:guda", "scores:guda_uncalibrated", *TABLES]
COUNTERFACTUAL = ["scores:logo-?", "scores:guda", "scores:guda_uncalibrated"]
GUDA = ["scores:guda", "scores:guda_uncalibrated"]
QUERIES = ["bucket:*", "query_table"]
BELOW_QUERIES = [*QUERIES, "elbo:*:bucket-*", "scores:*", *TABLES]
ELBO = ["elbo:*", *COUNTERFACTUAL, *TABLES]
CALIBRATED = ["calibration", "elbo:*:calibration", "scores:guda", *TABLES]
# Everything that reads the base model, and so the queries generated from it.
BELOW_BASE = ["model:base", "model:guda/*", *QUERIES, "elbo:*", "scores:*", *TABLES]


def override(**settings):
    return {"overrides": {"amber": settings}}


def digests(of):
    """Digest of the spec of every job, by a name that says which."""
    models = [BASE]
    models += [logo_model(seed, group) for seed in of.config.oracle.seeds for group in of.groups]
    unlearned = [unlearned_model("guda", group) for group in of.groups]
    found = {
        "images": of.images_spec,
        "table": of.dataset.table_spec(),
        "calibration": of.calibration_spec(),
        "query_table": of.query_table_spec(),
        "rankings": rankings_spec(of),
        "metrics": metrics_spec(of),
        "significance": significance_spec(of),
        "sources": sources_spec(of),
        "figure": figure_spec(of),
    }
    for group in of.groups:
        found |= {f"group:{group}": of.group_spec(group), f"neighbors:{group}": of.neighbors_spec(group)}
    for bucket in of.buckets:
        found[f"bucket:{bucket}"] = of.bucket_spec(bucket)
        found |= {f"elbo:{model}:{bucket}": of.elbo_spec(model, bucket) for model in models + unlearned}
    for model in [BASE, *unlearned]:
        found[f"elbo:{model}:calibration"] = of.elbo_spec(model, CALIBRATION)
    found |= {f"model:{model}": of.model_spec(model) for model in models + unlearned}
    found |= {f"scores:{name}": of.method_spec(name) for name in of.score_names}
    return {name: spec.digest() for name, spec in found.items()}


BEFORE = digests(experiment())


def changed(after):
    return {name for name in BEFORE.keys() & after.keys() if BEFORE[name] != after[name]}


def matching(patterns, names=BEFORE):
    """The jobs that the patterns name; each pattern must name some."""
    found = {pattern: {name for name in names if fnmatch(name, pattern)} for pattern in patterns}
    assert all(found.values()), found
    return set().union(*found.values())


# --- what a change makes stale -----------------------------------------------------------------------

AMBER = ["model:guda/amber", "elbo:guda/amber:*", *GUDA, *TABLES]
CHANGES = {
    "training steps": ({"training": {"steps": 21}}, [*BELOW_BASE, "model:logo-*"]),
    "network": ({"unet": {"dropout": 0.5}}, [*BELOW_BASE, "model:logo-*"]),
    "learned variance": ({"unet": {"learned_variance": True}}, [*BELOW_BASE, "model:logo-*"]),
    "mirror images": ({"training": {"flip": True}}, [*BELOW_BASE, "model:logo-*"]),
    "betas": ({"noise_schedule": {"beta_end": 0.03}}, [*BELOW_BASE, "model:logo-*"]),
    "training seed, which is not the oracle's": ({"training": {"seed": 9}}, BELOW_BASE),
    "unlearn steps": ({"unlearn": {"steps": 11}}, UNLEARNED),
    "unlearn seed": ({"unlearn": {"seed": 9}}, UNLEARNED),
    "neighbors": ({"unlearn": {"n_neighbors": 4}}, ["neighbors:*", *UNLEARNED]),
    "one group's override": ({"unlearn": override(forget_weight=0.7)}, AMBER),
    "one group's neighbors": ({"unlearn": override(n_neighbors=4)}, ["neighbors:amber", *AMBER]),
    "an override that changes nothing": ({"unlearn": override(steps=10)}, []),
    "an empty override": ({"unlearn": override()}, []),
    "query seed": ({"queries": {"seed": 9}}, BELOW_QUERIES),
    "sampler": ({"queries": {"sampler": "ddpm"}}, BELOW_QUERIES),
    "sampling steps": ({"queries": {"sampling_steps": 8}}, BELOW_QUERIES),
    "elbo seed": ({"elbo": {"seed": 9}}, ELBO),
    "elbo steps": ({"elbo": {"steps": {"count": 5}}}, ELBO),
    "kind of elbo steps": ({"elbo": {"steps": {"kind": "all"}}}, ELBO),
    "a key that this kind of steps does not use": ({"elbo": {"steps": {"stride": 11}}}, []),
    "calibration count": ({"attribution": {"calibration": {"count": 17}}}, CALIBRATED),
    "calibration seed": ({"attribution": {"calibration": {"seed": 9}}}, CALIBRATED),
    "a setting of nearest": ({"attribution": {"nearest": {"top_k": 2}}}, ["scores:nearest", *TABLES]),
    "seed of random": ({"attribution": {"random": {"seed": 9}}}, ["scores:random", *TABLES]),
    "bootstrap": ({"metrics": {"bootstrap_samples": 77}}, ["metrics", "significance", "sources"]),
    "content": ({"metrics": {"content": None}}, ["metrics", "sources"]),
    "figure": ({"figure": {"queries": 5}}, ["figure"]),
    "the other oracle first": ({"oracle": {"seeds": [2, 1]}}, TABLES),
    "execution": ({"execution": {"batch_size": 3, "threads": 2, "micro_batch_size": 2}}, []),
    "results folder": ({"results": "elsewhere"}, []),
}


@pytest.mark.parametrize(("changes", "stale"), CHANGES.values(), ids=CHANGES)
def test_a_change_changes_exactly_the_specs_that_depend_on_it(changes, stale):
    after = digests(experiment(**changes))
    assert after.keys() == BEFORE.keys()
    assert changed(after) == matching(stale)


LIKELIHOODS = ["base", "logo-1/amber", "guda/amber"]


def likelihood_digests(of):
    found = {model: reports.likelihood_spec(of, model).digest() for model in LIKELIHOODS}
    return found | {"table": reports.likelihood_table_spec(of).digest()}


@pytest.mark.parametrize(
    ("changes", "stale"),
    [
        ({"likelihood": {"steps": 5}}, [*LIKELIHOODS, "table"]),
        ({"likelihood": {"queries": 4}}, [*LIKELIHOODS, "table"]),
        ({"queries": {"seed": 9}}, [*LIKELIHOODS, "table"]),
        ({"unlearn": override(forget_weight=0.7)}, ["guda/amber", "table"]),
        ({"elbo": {"seed": 9}}, ["table"]),
        ({"metrics": {"bootstrap_samples": 77}}, ["table"]),
        ({"methods": ["guda", "random"]}, ["table"]),  # the calibrated method's scores are not compared
        ({"attribution": {"calibration": {"count": 17}}}, []),
        ({"metrics": {"content": None}}, []),
        ({"likelihood": {"groups": ["amber", "cedar"]}}, []),  # all, said in another way
    ],
)
def test_a_change_changes_the_likelihoods_that_depend_on_it(changes, stale):
    before, after = likelihood_digests(experiment()), likelihood_digests(experiment(**changes))
    assert [name for name in before if before[name] != after[name]] == stale


def test_a_method_left_out_changes_the_tables_only():
    after = digests(experiment(methods=["guda", "random"]))
    assert BEFORE.keys() - after.keys() == {"scores:guda_uncalibrated", "scores:nearest"}
    assert changed(after) == set(TABLES)


def test_an_added_oracle_seed_adds_jobs_and_leaves_the_others():
    after = digests(experiment(oracle={"seeds": [1, 2, 3]}))
    assert changed(after) == set(TABLES)
    added = after.keys() - BEFORE.keys()
    assert added == matching(["model:logo-3/*", "elbo:logo-3/*", "scores:logo-3"], after)
    assert BEFORE.keys() <= after.keys()


def test_an_added_seed_of_unlearning_adds_its_models_and_leaves_the_others():
    of, before = experiment(unlearn={"seeds": [0, 7]}), experiment()
    assert digests(experiment(unlearn={"seeds": [0]})) == digests(experiment(unlearn={"seed": 0})) == BEFORE
    assert changed(digests(of)) == matching([*GUDA, *TABLES])
    for name in ("guda", "guda_uncalibrated"):
        spec, alone = of.method_spec(name), before.method_spec(name)
        first, other = spec.runs
        assert first == alone
        assert other == experiment(unlearn={"seed": 7}).method_spec(name).model_copy(
            update={"model_names": {group: f"guda-seed-7/{group}" for group in of.groups}}
        )
        method, paths = get_method(name), of.paths
        assert method.parse(spec.canonical()) == spec
        assert method.judged(spec).keys() == {BASE, *first.model_names.values(), *other.model_names.values()}
        built, once = (method.needs(each, paths).build_records for each in (spec, alone))
        assert [file for file in built.keys() - once.keys() if "seed-7" not in file] == []
        assert built.items() >= once.items()
    assert reports.repeated(before) == []
    assert reports.repeated(of) == ["guda", "guda_uncalibrated"]
    assert of.paths.reliability() in reports.final_outputs(of)


def test_every_operator_unlearns_with_all_seeds():
    methods = [name for name in METHODS if name in ("guda", "finetune", "neggrad", "guda_esd")]
    of = experiment(methods=methods, unlearn={"seeds": [3, 7]}, attribution={"neggrad": {"seed": 5}})
    for name in methods:
        runs = of.method_spec(name).runs
        assert [run.model_names["amber"] for run in runs] == [f"{name}/amber", f"{name}-seed-7/amber"]
        settings = [of.model_spec(run.model_names["amber"]).settings for run in runs]
        assert [each.seed for each in settings] == [3, 7]
        assert settings[0].model_copy(update={"seed": 7}) == settings[1]
    text = text_experiment(methods=["guda", "guda_uniform"], unlearn={"seeds": [0, 1]})
    assert text.unlearned("guda", "neon", "-seed-1") == "guda-seed-1/neon"
    assert text.model_spec("guda_uniform-seed-1/neon").settings.strategy == "uniform"
    assert text.model_spec("guda_uniform-seed-1/neon").settings.seed == 1


def test_what_builds_on_guda_builds_on_all_seeds():
    of = experiment(methods=["guda_scaled", "ensemble"], unlearn={"seeds": [0, 7]})
    for name in of.config.methods:
        method, spec = get_method(name), of.method_spec(name)
        assert method.parse(spec.canonical()) == spec
        assert {"guda/amber", "guda-seed-7/amber"} <= method.judged(spec).keys()
        assert of.paths.model_record("guda-seed-7/amber") in method.needs(spec, of.paths).build_records
    assert reports.repeated(of) == []


def test_without_an_oracle_runs_are_compared_with_each_other_alone():
    of = experiment(unlearn={"seeds": [0, 7]}, oracle={"seeds": []})
    assert reports.reliability_spec(of).oracle == {}
    assert of.paths.reliability() in reports.final_outputs(of)
    assert not [file for file in reports.reliability_files(of) if "logo" in file]


def test_variants_unlearn_with_all_seeds():
    of = experiment(unlearn={"seeds": [0, 7]}, sweep={"unlearn": [{"steps": [9, 10]}]})
    runs = of.method_spec("guda@steps=9").runs
    assert [run.model_names["amber"] for run in runs] == ["sweep-steps=9/amber", "sweep-steps=9-seed-7/amber"]
    assert of.method_spec("guda@steps=10") == of.method_spec("guda")  # as configured


def test_oracles_with_bases_of_their_own_change_their_scores_and_what_is_measured_against_them():
    of = experiment(oracle={"own_base": True})
    assert changed(digests(of)) == matching(["scores:logo-?", *TABLES])
    for seed in (1, 2):
        own, oracle = of.model_spec(f"base-{seed}"), of.method_spec(f"logo-{seed}")
        base, logo = of.model_spec(BASE), of.model_spec(logo_model(seed, "amber"))
        assert own.excluded is None
        assert own == logo.model_copy(update={"excluded": None})
        assert own == base.model_copy(update={"training": logo.training})
        assert (oracle.base, oracle.base_name) == (own.digest(), f"base-{seed}")
        assert get_method(f"logo-{seed}").parse(oracle.canonical()) == oracle
        assert get_method(f"logo-{seed}").judged(oracle).keys() == {f"base-{seed}", *oracle.model_names.values()}
        needs = get_method(f"logo-{seed}").needs(oracle, of.paths)
        built = {of.paths.model_record(name) for name in (f"base-{seed}", *oracle.model_names.values())}
        assert set(needs.build_records) == built
        assert not {file for file in [*needs.files, *needs.query_records] if "/base/" in file}
    assert of.method_spec("guda").base == of.model_digest(BASE)
    assert list(reports.likelihood_models(of)) == ["guda_uncalibrated"]
    assert list(reports.likelihood_models(experiment())) == ["logo-1", "guda_uncalibrated"]


def test_an_added_group_adds_jobs_and_changes_scores_only():
    after = digests(experiment(data={"groups": ["amber", "birch", "cedar"]}))
    assert changed(after) == matching(["scores:*", *TABLES])
    assert after.keys() - BEFORE.keys() == matching(["*:birch", "model:*/birch", "elbo:*/birch:*"], after)


def test_a_removed_group_changes_scores_only():
    three = digests(experiment(data={"groups": ["amber", "birch", "cedar"]}))
    stale = {name for name in BEFORE.keys() & three.keys() if BEFORE[name] != three[name]}
    assert stale == matching(["scores:*", *TABLES])


def test_groups_that_differ_in_case_only_need_a_file_system_that_tells_them_apart(tmp_path):
    cases = {"conditions": {"Amber": 'provider == "amber"', "amber": 'provider == "cedar"'}, "groups": None}
    results = tmp_path / "results"
    names = {
        name for name in digests(experiment(data=cases, results=str(results / "new"))) if name.startswith("model:")
    }
    assert {"model:guda/Amber", "model:guda/amber"} <= names
    results.mkdir()
    (tmp_path / "RESULTS").symlink_to(results)  # so that the folder has both names, as where case does not count
    with pytest.raises(
        DataError, match=r"groups 'Amber' and 'amber' differ only in case, which the file system of '.*' ignores"
    ):
        experiment(data=cases, results=str(results / "new"))


def test_groups_named_in_another_order_or_all_by_null_are_the_same():
    assert digests(experiment(data={"groups": ["cedar", "amber"]})) == BEFORE
    every = sorted(set(DATASET.table["provider"]))
    assert digests(experiment(data={"groups": every})) == digests(experiment(data={"groups": None}))


def rebuilt(images=None, **columns):
    """The experiment on altered training data."""
    table = DATASET.table.drop(columns="sha256").assign(**columns)
    return Experiment(load_config(TINY), Dataset.build("digits", [DATASET.images if images is None else images], table))


def moved(source, target):
    """The provider column after the first image of `source` went to `target`."""
    providers = DATASET.table["provider"].copy()
    providers[(providers == source).idxmax()] = target
    return providers


def test_a_changed_pixel_changes_everything_but_membership():
    images = DATASET.images.copy()
    images[0, 0, 0, 0] ^= 1
    assert changed(digests(rebuilt(images))) == BEFORE.keys() - matching(["group:*"])


def test_an_image_that_changes_between_providers_that_are_no_groups_changes_no_model():
    assert changed(digests(rebuilt(provider=moved("birch", "dune")))) == {"table", "sources"}


def test_an_image_that_leaves_a_group_changes_what_reads_that_group():
    amber = ["group:amber", "neighbors:amber", "model:*/amber", "elbo:*/amber:*"]
    stale = matching(["table", *amber, *COUNTERFACTUAL, "scores:nearest", *TABLES])
    assert changed(digests(rebuilt(provider=moved("amber", "birch")))) == stale


def test_more_queries_change_only_the_buckets_that_gain_some():
    before = experiment(queries={"count": 8, "buckets": 8})
    after = experiment(queries={"count": 9, "buckets": 8})
    assert after.queries[:8] == before.queries
    (gained,) = [bucket for bucket, ids in after.buckets.items() if after.queries[8] in ids]
    for bucket, ids in before.buckets.items():
        assert [query for query in after.buckets[bucket] if query != after.queries[8]] == ids
        same = before.bucket_spec(bucket) == after.bucket_spec(bucket)
        assert same == (bucket != gained)
        assert (before.elbo_spec(BASE, bucket) == after.elbo_spec(BASE, bucket)) == same
    assert len(before.buckets) > 2


def test_the_buckets_of_known_queries_are_pinned():
    """They name files: another hash would leave every user's results behind."""
    of = experiment(queries={"count": 8, "buckets": 4})
    assert of.buckets == {
        "bucket-0000": ["query-000000", "query-000004", "query-000007"],
        "bucket-0001": ["query-000002", "query-000005"],
        "bucket-0002": ["query-000001"],
        "bucket-0003": ["query-000003", "query-000006"],
    }


def test_every_query_is_in_one_bucket():
    of = experiment(queries={"count": 100, "buckets": 7})
    ids = [query for bucket in of.buckets.values() for query in bucket]
    assert sorted(ids) == of.queries
    assert len(set(ids)) == 100
    assert list(of.buckets) == sorted(of.buckets)


def test_a_base_model_trained_from_an_oracle_seed_is_still_not_the_oracle_model():
    of = experiment(training={"seed": 1})
    assert of.model_spec(BASE) != of.model_spec(logo_model(1, "amber"))
    assert of.model_spec(logo_model(1, "amber")).training.seed == 1


# --- networks that know all groups -------------------------------------------------------------------

KNOWING = ["conditional_elbo", "classifier", "mixture", "random"]


def digests_of_networks(**changes):
    of = experiment(methods=KNOWING, data={"groups": None}, **changes)
    found = {f"model:{model}": of.model_spec(model) for model in (CONDITIONAL, CLASSIFIER)}
    for bucket in of.buckets:
        told = map(conditioned_model, of.groups)
        found |= {f"elbo:{model}:{bucket}": of.elbo_spec(model, bucket) for model in (CONDITIONAL, *told)}
        found[f"posteriors:{bucket}"] = of.posteriors_spec(bucket)
        found[f"mixture:{bucket}"] = mixture_spec(of, bucket)
    found |= {f"scores:{name}": of.method_spec(name) for name in KNOWING}
    return {name: spec.digest() for name, spec in found.items()}


OF_BOTH = ["mixture:*", "scores:mixture"]
OF_CONDITIONAL = ["model:conditional", "elbo:*", "scores:conditional_elbo", *OF_BOTH]
OF_CLASSIFIER = ["model:classifier", "posteriors:*", "scores:classifier", *OF_BOTH]


@pytest.mark.parametrize(
    ("changes", "stale"),
    [
        ({"attribution": {"conditional": {"training": {"steps": 21}}}}, OF_CONDITIONAL),
        ({"attribution": {"conditional": {"label_dropout": 0.2}}}, OF_CONDITIONAL),
        ({"attribution": {"classifier": {"training": {"seed": 5}}}}, OF_CLASSIFIER),
        ({"attribution": {"classifier": {"training": {"steps": 20}}}}, []),
        ({"unlearn": {"steps": 11}}, []),
        ({"training": {"steps": 21}}, [*OF_CONDITIONAL, *OF_CLASSIFIER, "scores:random"]),
        ({"elbo": {"seed": 9}}, ["elbo:*", "posteriors:*", "scores:c*", *OF_BOTH]),
        ({"queries": {"seed": 9}}, ["elbo:*", "posteriors:*", "mixture:*", "scores:*"]),
    ],
)
def test_a_change_reaches_only_the_network_that_it_is_about(changes, stale):
    before, after = digests_of_networks(), digests_of_networks(**changes)
    found = {name for name in before if before[name] != after[name]}
    assert found == matching(stale, before)


def test_only_methods_that_need_a_network_ask_for_it():
    def wanted(*methods):
        of = experiment(methods=list(methods))
        return {file for name in of.score_names for file in of.method_files(name)}

    paths = experiment().paths
    assert paths.model_record(CONDITIONAL) in wanted("conditional_elbo") - wanted("classifier", "guda")
    assert paths.model_record(CLASSIFIER) in wanted("classifier") - wanted("conditional_elbo", "guda")


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unlearn": {"overrides": {"ambr": {"steps": 9}}}}, r"unlearn\.overrides.*'ambr'.*did you mean 'amber'"),
        ({"unlearn": {"overrides": {"birch": {"steps": 9}}}}, r"unlearn\.overrides.*'birch'"),
        ({"unlearn": {"n_neighbors": 1700}}, r"unlearn\.n_neighbors is 1700, but without group '\w+' only \d+ images"),
        (
            {"unlearn": {"overrides": {"cedar": {"n_neighbors": 1796}}}},
            r"n_neighbors is 1796, but without group 'cedar'",
        ),
        ({"methods": ["guda", "nearst"]}, r"methods: unknown method 'nearst'; did you mean 'nearest'"),
        ({"methods": ["logo-x"]}, r"methods.*'logo-x'"),
        ({"methods": ["logo-1"]}, r"methods.*'logo-1'"),
        ({"data": {"groups": ["amber", "ceder"]}}, r"data\.groups.*'ceder'.*did you mean 'cedar'"),
        ({"data": {"group_by": "provder"}}, r"data\.group_by.*did you mean 'provider'"),
        ({"likelihood": {"groups": ["amber", "ceder"]}}, r"likelihood\.groups.*'ceder'.*did you mean 'cedar'"),
        # gamma_i = cos(pi / 2 (i + 9) / 1008), nearly, is below a hundredth from i = 993 on.
        ({"likelihood": {"first": 993}}, r"likelihood\.first is 993, but at step 993 no signal"),
        ({"metrics": {"content": "lable"}}, r"metrics\.content.*'lable'.*did you mean 'label'"),
    ],
)
def test_what_does_not_fit_the_data_is_refused_when_planning(changes, message):
    with pytest.raises((ConfigError, DataError), match=message):
        experiment(**changes)


def test_groups_are_described_in_one_line():
    two = experiment(data={"groups": ["amber", "cedar"]})
    sizes = {group: len(members) for group, members in two.groups.items()}
    outside = 1797 - sum(sizes.values())
    assert two.describe_groups() == (
        f"1797 training images, {outside} in no group; 2 groups: amber ({sizes['amber']}), cedar ({sizes['cedar']})"
    )


def test_a_calibration_sample_that_lies_in_one_group_is_refused_unless_nothing_is_calibrated():
    one = {"attribution": {"calibration": {"count": 1}}, "data": {"groups": None}}
    with pytest.raises(
        ConfigError, match=r"attribution\.calibration\.count is 1, and group '.*' holds all of the .*raise"
    ):
        experiment(**one)
    assert experiment(**one, methods=["guda_uncalibrated", "nearest"]).groups


def test_models_unlearned_by_lora_are_adapters_of_the_base_model_and_the_others_whole():
    whole, adapted = text_experiment(), text_experiment({"anchors": {"trainable": "lora"}})
    unlearned, base = unlearned_model("guda", "neon"), whole.family.model_files(BASE)
    assert whole.family.model_files(unlearned).keys() == base.keys() == {"weights", "config"}
    for model in (BASE, logo_model(1, "neon")):
        assert adapted.family.model_files(model) == whole.family.model_files(model)
        assert adapted.family.adapted_files(model) == []
    assert whole.family.adapted_files(unlearned) == []
    assert adapted.family.model_files(unlearned) == {
        "weights": "results/models/guda/neon/pytorch_lora_weights.safetensors"
    }
    assert adapted.family.adapted_files(unlearned) == list(base.values())


def test_what_only_text_to_image_models_have_is_refused_of_others():
    of = text_experiment()
    assert of.fine_tuned is of.family
    with pytest.raises(ConfigError, match="text_to_image: the experiment has models without prompts"):
        _ = Experiment(load_config({}), DATASET).fine_tuned


def test_unknown_names_are_refused():
    of = experiment()
    with pytest.raises(ConfigError, match=r"there is no group 'ambr'; did you mean 'amber'"):
        of.model_spec(unlearned_model("guda", "ambr"))
    with pytest.raises(ConfigError, match=r"there is no bucket 'bucket-0009' of queries; did you mean 'bucket-000"):
        of.elbo_spec(BASE, "bucket-0009")


def test_groups_of_one_image_and_batches_larger_than_the_training_set_are_noted():
    """Of 1797 digits one is alone; a training batch of 5000 holds each image twice, one of unlearning none twice."""
    conditions = {"alone": f'id == "{DATASET.table["id"].iloc[0]}"', "all_amber": 'provider == "amber"'}
    changes = {"data": {"groups": None, "conditions": conditions}, "training": {"batch_size": 5000}}
    single, batch = size_notes(Experiment(load_config({**TINY, **changes, "unlearn": {"batch_size": 1797}}), DATASET))
    assert single.startswith("1 group(s) with a single image (alone): ")
    assert batch.startswith("training.batch_size is 5000, but there are only 1797 training images")
    assert size_notes(Experiment(load_config(TINY), DATASET)) == []

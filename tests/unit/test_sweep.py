"""Variants: their names, what they change in the plan, and which of them is chosen."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from text_experiments import text_experiment

from guda import specs
from guda.config import Data, Metrics, NoiseSchedule, StepSchedule
from guda.core.artifacts import load_tensors, pack_ids, save_tensors
from guda.core.errors import ArtifactError, ConfigError
from guda.core.paths import BASE
from guda.core.records import read_record, write_record
from guda.data.datasets import load_dataset
from guda.evaluation.metrics_table import CEILING, COSTS, HEALTH, metrics_table
from guda.evaluation.sweep import chosen_variants, sweep_table
from guda.methods import get_method
from guda.methods.similarity.plan import Nearest
from guda.methods.sweep import combinations
from guda.methods.variants import parts_of
from guda.models.noise_schedule import elbo_steps, step_weights
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.plan.reports import figure_spec, metrics_spec, sweep_spec
from guda.report.sweep import sweep_figure
from guda.scoring.scored_terms import take_terms

DATASET = load_dataset(Data())
STRIDE = {"kind": "stride", "first": 100, "last": 900, "stride": 100}


def experiment(sweep=None, **sections):
    sections = {"data": {"groups": ["amber", "cedar"]}, "elbo": {"steps": STRIDE}} | sections
    return Experiment(load_config(sections | {"sweep": sweep or {}}), DATASET)


# --- which variants there are ------------------------------------------------------------------------


def test_all_combinations_in_a_mapping_are_tried_each_once():
    grids = [{"top_k": [1, 5], "aggregate": ["mean", "top_k"]}, {"top_k": 5, "aggregate": "mean"}, {"top_k": 9}]
    assert combinations(grids, Nearest()) == [
        {"aggregate": "mean", "top_k": 1},
        {"aggregate": "top_k", "top_k": 1},
        {"aggregate": "mean", "top_k": 5},
        {"aggregate": "top_k", "top_k": 5},
        {"top_k": 9},
    ]


def test_names_tell_the_settings_whatever_their_order():
    one = experiment({"unlearn": [{"learning_rate": 1.0e-3, "steps": [40, 90]}], "elbo_steps": [{"first": 300}]})
    other = experiment({"unlearn": [{"steps": [40.0, 90], "learning_rate": 0.001}], "elbo_steps": [{"first": 300}]})
    names = ["guda", "guda@elbo.first=300"]
    for steps in (40, 90):
        unlearning = f"guda@steps={steps},learning_rate=0.001"
        names += [unlearning, f"{unlearning},elbo.first=300"]
    assert list(one.variants) == list(other.variants) == names


def test_a_name_alone_tells_where_the_files_are():
    of = experiment({"unlearn": [{"steps": 40, "max_correction_norm": [None, 2]}], "elbo_steps": [{"first": 300}]})
    for name, variant in of.variants.items():
        assert parts_of(name) == (variant.method, variant.operator, variant.schedule)
    assert parts_of("guda@steps=40,elbo.first=300,elbo.count=5") == ("guda", "sweep-steps=40", "@first=300,count=5")
    assert "guda@steps=40,max_correction_norm=null" in of.variants


def test_nothing_is_tried_by_default_and_methods_as_configured_only_beside_variants():
    assert experiment().variants == {}
    assert list(experiment({"nearest": [{"top_k": 2}]}).variants) == ["nearest", "nearest@top_k=2"]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"sweep": {"unlearn": [{"step": 3}]}}, r"sweep\.unlearn\.step: unknown key; did you mean 'steps'\?"),
        ({"sweep": {"elbo_steps": [{"frist": 3}]}}, r"sweep: elbo_steps\.frist: unknown key; did you mean 'first'\?"),
        ({"sweep": {"nearest": [{"overrides": 3}]}}, r"sweep: nearest\.overrides: unknown key"),
        ({"sweep": {"learn": []}}, r"sweep\.learn: unknown key; did you mean 'unlearn'\?"),
        ({"sweep": {"unlearn": {"steps": 3}}}, r"sweep\.unlearn: expected a list"),
        ({"sweep": {"unlearn": [{"steps": [30, 0]}]}}, r"sweep\.unlearn\.steps: .*greater than 0 \(found 0\)"),
        ({"sweep": {"unlearn": [{"steps": 4}]}}, r"sweep\.unlearn\.warmup_steps is 5 but there are only 4 steps"),
        (
            {"sweep": {"unlearn": [{"steps": 9}]}, "unlearn": {"overrides": {"amber": {"warmup_steps": 9}}}},
            r"sweep\.unlearn\.warmup_steps is 9 but there are only 9 steps",
        ),
        ({"sweep": {"elbo_steps": [{"last": 1000}]}}, r"sweep\.elbo_steps\.last is 1000"),
        ({"sweep": {"unlearn": [{"n_neighbors": 1700}]}}, r"unlearn\.n_neighbors is 1700, but without group"),
        (
            {"sweep": {"nearest": [{"top_k": 3}]}, "oracle": {"seeds": [4]}},
            r"sweep: the best variant is chosen by the second of oracle\.seeds, which is \[4\]; add a seed",
        ),
    ],
)
def test_what_cannot_be_tried_is_refused(sections, message):
    with pytest.raises(ConfigError, match=message):
        Experiment(load_config(sections), DATASET)


# --- what they plan ----------------------------------------------------------------------------------


def test_a_sweep_leaves_all_else_as_it_was():
    plain, swept = experiment(), experiment({"unlearn": [{"steps": 40}], "elbo_steps": [{"first": 300}]})
    assert metrics_spec(plain) == metrics_spec(swept)
    assert figure_spec(plain) == figure_spec(swept)
    assert [plain.method_files(name) for name in plain.score_names] == [
        swept.method_files(name) for name in plain.score_names
    ]


def test_one_variant_more_leaves_the_others_alone():
    two, three = (experiment({"unlearn": [{"steps": steps}]}) for steps in ([40, 50], [40, 50, 60]))
    assert three.variants.keys() - two.variants.keys() == {"guda@steps=60"}
    for name in two.variants:
        assert two.method_spec(name) == three.method_spec(name)
    assert sweep_spec(two) != sweep_spec(three)


def test_a_variant_changes_its_models_and_nothing_that_it_could_share():
    of = experiment({"unlearn": [{"steps": 40, "n_neighbors": [10, 7]}, {"steps": 60}]})
    for group in of.groups:
        usual, other = (of.model_spec(f"{operator}/{group}") for operator in ("guda", "sweep-steps=40,n_neighbors=10"))
        assert other == usual.model_copy(update={"settings": usual.settings.model_copy(update={"steps": 40})})
        fewer = of.unlearned("sweep-steps=40,n_neighbors=7", group)
        files = of.operator_files("sweep-steps=40,n_neighbors=7", group)
        assert files == [of.paths.neighbors(f"k=7/{group}")]
        assert of.model_spec(fewer).neighbors == of.neighbors_spec(group, 7).digest()
        # 60 steps are what is configured: the same models.
        assert of.unlearned("sweep-steps=60", group) == f"guda/{group}"
    assert of.method_spec("guda@steps=60") == of.method_spec("guda")
    needed = of.method_files("guda@steps=40,n_neighbors=7")
    assert of.paths.neighbors_record("k=7/amber") in needed
    assert not any("models/guda" in file for file in needed)


def test_terms_among_those_scored_are_not_scored_again():
    of = experiment({"elbo_steps": [{"first": [200, 250]}, {"stride": 200}]})
    found = {schedule: of.scored_files(BASE, "bucket-0000", schedule) for schedule in of.schedules}
    scored = [of.paths.elbo(BASE, "bucket-0000")]
    assert found == {"": [], "@first=200": scored, "@first=250": [], "@stride=200": scored}
    spec = of.method_spec("guda@elbo.first=200")
    assert spec.elbo.steps == list(range(200, 901, 100))
    assert of.paths.with_schedule("@first=200").elbo("guda/amber", "calibration") in of.method_files(
        "guda@elbo.first=200"
    )


def test_a_variant_of_nearest_changes_its_settings_alone():
    of = experiment({"nearest": [{"aggregate": "mean"}]})
    spec = of.method_spec("nearest@aggregate=mean")
    assert spec == of.method_spec("nearest").model_copy(update={"settings": Nearest(aggregate="mean")})
    assert get_method("nearest@aggregate=mean").parse(spec.canonical()) == spec


# --- terms at some of the steps ----------------------------------------------------------------------


def elbo_spec(**window):
    window = StepSchedule(**STRIDE | window)
    settings = specs.ElboSettings(
        noise_schedule=NoiseSchedule(), seed=3, steps=elbo_steps(window).tolist(), first=window.first, last=window.last
    )
    return specs.ElboSpec(model="m", samples="s", elbo=settings)


@pytest.fixture
def scored(tmp_path):
    """A file of terms of two images at steps 100, 200, .. 900, with its record."""
    spec, path = elbo_spec(), tmp_path / "scored.safetensors"
    kl = torch.arange(18, dtype=torch.float32).reshape(2, 9)
    save_tensors(path, {"kl": kl, "ids": pack_ids(["a", "b"])}, spec, query_ids="", model_sha256="x", parent_sha256="y")
    write_record(path.with_suffix(".record.json"), spec, [path], seconds=9.0, cpu_seconds=18.0, evaluations=18)
    return path


def test_taken_terms_are_those_of_their_steps_with_the_weights_of_their_window(scored, tmp_path):
    spec, output, record = elbo_spec(first=300, stride=200), tmp_path / "taken", tmp_path / "taken.json"
    take_terms(scored, spec, output, record)
    tensors, metadata = load_tensors(output, spec.digest(), "np")
    assert tensors["kl"].tolist() == [[2, 4, 6, 8], [11, 13, 15, 17]]
    assert tensors["steps"].tolist() == [300, 500, 700, 900]
    np.testing.assert_array_equal(tensors["step_weights"], step_weights(np.array([300, 500, 700, 900]), 300, 900))
    assert (metadata["model_sha256"], metadata["parent_sha256"]) == ("x", "y")
    cost = read_record(record, spec.digest())
    assert (cost["seconds"], cost["cpu_seconds"], cost["evaluations"]) == (4.0, 8.0, 8)


def test_terms_that_are_not_there_are_not_taken(scored, tmp_path):
    other_model = elbo_spec(first=300).model_copy(update={"model": "n"})
    for spec in (elbo_spec(first=150), other_model):
        with pytest.raises(ArtifactError, match="lacks the requested ELBO terms"):
            take_terms(scored, spec, tmp_path / "taken", tmp_path / "taken.json")


# --- the table ---------------------------------------------------------------------------------------

SEEDS = ["logo-1", "logo-2"]
METRICS = Metrics(bootstrap_samples=50, seed=1)
GENERATOR = np.random.default_rng(0)
MATRICES = {name: GENERATOR.normal(size=(40, 3)) for name in ["guda", "guda@steps=40", "nearest", *SEEDS]}
SECONDS = {name: float(index) for index, name in enumerate(MATRICES)}


def spec_of(matrices):
    methods = {name: name.split("@")[0] for name in matrices if name not in SEEDS}
    settings = {"guda": {"steps": 80}, "guda@steps=40": {"steps": 40}, "nearest": {"top_k": 1}}
    shown = {name: settings.get(name, {}) for name in methods}
    scores = dict.fromkeys(matrices, "d")
    return specs.SweepSpec(scores=scores, oracles=SEEDS, methods=methods, variants=shown, metrics=METRICS)


HEALTHY = dict.fromkeys(MATRICES, 1.0)


def test_a_variant_as_configured_has_the_figures_of_the_metrics_table():
    table = sweep_table(MATRICES, SECONDS, HEALTHY, spec_of(MATRICES)).set_index(["variant", "oracle"])
    cost = dict.fromkeys([*COSTS, *HEALTH], 1.0)
    costs = dict.fromkeys(MATRICES, cost)
    for oracle, other in (SEEDS, SEEDS[::-1]):
        metrics = metrics_table(MATRICES, [oracle, other], ["guda", "nearest"], costs, METRICS).set_index("method")
        shared = [column for column in metrics.columns if column in table.columns and column not in cost]
        assert {"top1", "top1_low", "top1_high", "effect_spearman", "decisive_auroc", "spearman"} <= set(shared)
        for name in ("guda", "nearest", "ceiling"):
            pd.testing.assert_series_equal(
                table.loc[(name, oracle), shared], metrics.loc[name, shared], check_names=False, check_dtype=False
            )


def test_rows_and_settings_of_the_table():
    table = sweep_table(MATRICES, SECONDS, HEALTHY, spec_of(MATRICES))
    names = ["guda", "guda@steps=40", "nearest"]
    assert list(zip(table["variant"], table["oracle"], strict=True)) == [
        *((name, oracle) for name in names for oracle in SEEDS),
        *(("ceiling", oracle) for oracle in SEEDS),
    ]
    assert list(table.columns[:7]) == ["variant", "method", "oracle", "chosen", "steps", "top_k", "n_queries"]
    assert list(table["steps"][:4]) == [80, 80, 40, 40]
    assert table["steps"][4:].isna().all()
    seconds = [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, SECONDS["logo-2"], SECONDS["logo-1"]]
    assert list(table["build_seconds"]) == seconds


def test_one_answer_for_all_queries_is_not_chosen_though_it_has_the_best_top1():
    """The oracle puts a first in seven of ten queries; the variant always does, what is configured in five of these."""
    second = np.random.default_rng(1).permuted(np.tile([0.0, 1, 2], (10, 1)), axis=1)
    second[:7], second[7:] = [5.0, 1, 0], [0.0, 4, 1]
    constant, found = np.tile([9.0, 1, 0], (10, 1)), second.copy()
    found[:2] = [0.0, 4, 1]
    matrices = {"guda": found, "guda@steps=40": constant, "logo-1": second, "logo-2": second}
    table = sweep_table(matrices, SECONDS, HEALTHY, spec_of(matrices)).set_index(["variant", "oracle"])
    assert table.loc[("guda@steps=40", "logo-2"), ["top1", "kappa", "contrast_spearman"]].tolist() == [0.7, 0, 0]
    assert table.loc[("guda", "logo-2"), "top1"] == 0.8
    assert table.loc["guda", "chosen"].all()


def test_the_second_seed_alone_chooses():
    """By the first seed the variant would win with 40 of 40 queries; the second agrees with what is configured."""
    first, second = MATRICES["logo-1"], MATRICES["logo-2"]
    matrices = {"guda": second, "guda@steps=40": first, "logo-1": first, "logo-2": second}
    table = sweep_table(matrices, SECONDS, HEALTHY, spec_of(matrices)).set_index(["variant", "oracle"])
    assert table.loc[("guda@steps=40", "logo-1"), "top1"] == 1
    assert table.loc["guda", "chosen"].tolist() == [True, True]
    assert not table.loc["guda@steps=40", "chosen"].any()


def test_of_each_method_that_is_chosen_whose_first_places_and_sizes_are_best_together():
    """Sums .5, .625, .625 and .5; neither the best kappa, nor the best contrast, nor the best top1."""
    metrics = {
        "guda": {"kappa": 0.0, "contrast_spearman": 0.5, "top1": 0.9},
        "guda@steps=40": {"kappa": 0.375, "contrast_spearman": 0.25, "top1": 0.5},
        "guda@steps=50": {"kappa": 0.25, "contrast_spearman": 0.375, "top1": 0.6},
        "guda@steps=60": {"kappa": 0.5, "contrast_spearman": 0.0, "top1": 0.7},
        "nearest": {"kappa": -0.1, "contrast_spearman": 0.0, "top1": 0.1},
    }
    assert chosen_variants(metrics, {name: name.split("@")[0] for name in metrics}) == {"guda@steps=40", "nearest"}


def test_the_figure_has_a_line_for_each_variant_and_marks_the_chosen():
    table = sweep_table(MATRICES, SECONDS, HEALTHY, spec_of(MATRICES))
    chosen = set(table.loc[table["chosen"], "variant"])
    (axes,) = sweep_figure(table.assign(chosen=table["chosen"].astype(str))).axes
    bold = {label.get_text() for label in axes.get_yticklabels() if label.get_fontweight() == "bold"}
    assert len(axes.get_yticklabels()) == 3
    assert bold == chosen


def test_long_names_of_variants_leave_the_panel_its_room():
    table = sweep_table(MATRICES, SECONDS, HEALTHY, spec_of(MATRICES))
    table = table.assign(chosen=table["chosen"].astype(str))
    long = {
        name: f"{name},forget_weight=0.03,preserve=distillation,elbo.count=48" for name in table["variant"].unique()
    }
    table["variant"] = [name if name == CEILING else long[name] for name in table["variant"]]
    figure = sweep_figure(table)
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    assert axes.get_window_extent().width > 4 * figure.dpi
    assert min(label.get_window_extent().x0 for label in axes.get_yticklabels()) >= 0


def test_variants_of_anchors_are_unlearned_with_their_settings_and_scored_as_others_are():
    of = text_experiment(sweep={"unlearn": [{"steps": [20, 200]}], "elbo_steps": [{"count": 4}]})
    assert list(of.variants) == [
        "guda",
        "guda@elbo.count=4",
        "guda@steps=20",
        "guda@steps=20,elbo.count=4",
        "guda@steps=200",
        "guda@steps=200,elbo.count=4",
    ]
    group = next(iter(of.groups))
    model = of.model_spec(of.unlearned("sweep-steps=20", group))
    usual = of.model_spec(of.unlearned("guda", group))
    assert model == usual.model_copy(update={"settings": usual.settings.model_copy(update={"steps": 20})})
    assert of.unlearned("sweep-steps=200", group) == f"guda/{group}"  # as configured
    assert of.method_spec("guda@steps=20").models[group] == model.digest()

"""What tables give on the fixed inputs."""

import numpy as np
import pandas as pd
from golden_inputs import IDS, IMAGES, QUERIES, SCORES, run_stage, save_groups, save_images, save_queries
from golden_methods import ELBO, save_terms

import make_table
from guda import config, specs
from guda.core.artifacts import pack_ids, save_tensors, write_csv
from guda.core.paths import BASE, Paths, record_of
from guda.core.records import write_record
from guda.evaluation.exemplars import found
from guda.evaluation.image_metrics import mse, ssim
from guda.evaluation.lds import held_out_lds, lds, lds_table
from guda.evaluation.likelihood_table import likelihood_row
from guda.evaluation.metrics_table import metrics_table
from guda.evaluation.quality import TWO_SAMPLE, UNLEARNED_COLUMNS, curves_csv, quality_csv
from guda.evaluation.ranking import rankings_frame
from guda.evaluation.reliability import reliability_table
from guda.evaluation.removal import GROUPS, at_random, removal_sets, removal_table
from guda.evaluation.scores import Scores
from guda.evaluation.screen import proposed
from guda.evaluation.significance import significance_table
from guda.evaluation.subsets import kept_by_subset, kept_matrix
from guda.evaluation.sweep import sweep_table
from guda.methods.random.plan import RandomSpec

ESTIMATE = np.array([[2.0, 2.5, 1.0], [1.0, 0.5, 3.0], [2.0, 1.0, 0.0], [1.0, 2.0, 1.9]])


METRICS = config.Metrics(bootstrap_samples=100, seed=2, decisive_ratio=1.5, content="label")


COST = {"build_seconds": 6.0, "query_seconds": 2.0, "build_evaluations": 5, "query_evaluations": 7}
COST |= {"health_median": 1.25, "health_worst": 3.5}


def rankings(tmp_path):
    frame = rankings_frame("m", ["q0", "q1", "q2", "q3"], ["a", "b", "c"], SCORES, SCORES / 10, None)
    return ["".join(frame["group"]), *frame["score"], *frame["se"][:3]]


def metrics(tmp_path):
    costs = {"logo": COST, "m": COST | {"build_evaluations": 1}}
    frame = metrics_table({"logo": SCORES, "m": ESTIMATE}, ["logo"], ["m"], costs, METRICS)
    columns = ["top1", "top1_low", "top1_high", "ndcg_exp@3", "rbo", "wpra@3", "kendall", "decisive_auroc", "speedup"]
    columns += ["health_median", "health_worst", "top1_balanced", "kappa", "contrast_spearman"]
    columns += ["margin_spearman", "decisive_auroc_margin", "size_ratio", "lrap", "average_precision"]
    return [*frame.set_index("method").loc["m", columns], *frame["method"]]


def exemplars(tmp_path):
    truth = np.eye(3, dtype=bool)[[0, 2, 2, 1]]
    return list(found(ESTIMATE, truth, 100, 2).values())


def quality(tmp_path):
    """Of 40 training images and 12 generated ones, and of models that unlearned groups a and b."""
    spec = save_quality(Paths(tmp_path))
    table = quality_csv(spec, Paths(tmp_path))
    base = table.loc[0, ["train_loss", "held_out_loss", "falls", "n_generated", *TWO_SAMPLE]].tolist()
    return [*base, *table.loc[1:, list(UNLEARNED_COLUMNS)].fillna(-1).to_numpy().ravel().tolist()]


def curves(tmp_path):
    spec = save_quality(Paths(tmp_path))
    table = curves_csv(specs.CurvesSpec(models={BASE: spec.base} | spec.models), Paths(tmp_path))
    return table.fillna(-1).to_numpy().ravel().tolist()


def save_quality(paths):
    """The files that quality.csv is made of; its spec."""
    made = {name: RandomSpec(groups=[name], buckets={}, seed=0) for name in [BASE, "guda/a", "guda/b", "scores"]}
    checked = {"steps": [2, 4], "training": [0.5, 0.3], "held_out": [0.6, 0.4], "falls": 0.1}
    curve = {"steps": [1, 2, 3, 4], "loss": [0.9, 0.8, 0.7, 0.6], "checked": checked}
    kept = {"health": {"loss": 0.3}, "learning_curve": curve}
    write_record(paths.model_record(BASE), made[BASE], [], seconds=0, **kept)
    for name, ratio in (("guda/a", 1.25), ("guda/b", 3.5)):
        write_record(paths.model_record(name), made[name], [], seconds=0, health={"loss": 0.4, "ratio": ratio})
    write_record(paths.scores_record("guda"), made["scores"], [], seconds=0, forgetting={"a": 2.5, "b": None})
    models = {name: made[name].digest() for name in (BASE, "guda/a", "guda/b")}
    save_terms(paths.results, {BASE: 0, "guda/a": 1, "guda/b": 2})
    spread = np.cos(0.37 * np.arange(52 * 5, dtype=np.float32) ** 2).reshape(52, 5)
    spread[40:] += np.array([0.6, 0, 0, -0.6, 0], dtype=np.float32)
    features = {}
    for name, rows in (("training", slice(0, 40)), ("bucket-0000", slice(40, 52))):
        spec = RandomSpec(groups=[name], buckets={}, seed=1)
        tensors = {"features": spread[rows], "ids": pack_ids([f"{name} {row}" for row in range(len(spread[rows]))])}
        save_tensors(paths.features("embedding", name), tensors, spec)
        features[name] = spec.digest()
    return specs.QualitySpec(
        base=models.pop(BASE),
        models=models,
        groups={"guda/a": "a", "guda/b": "b"},
        models_of={"guda": ["guda/a", "guda/b"]},
        scores={"guda": made["scores"].digest()},
        terms={
            name: specs.ElboSpec(model=name, samples="calibration", elbo=ELBO).digest()
            for name in (BASE, "guda/a", "guda/b")
        },
        members=save_groups(paths),
        features=features,
        unseen="",
    )


def significance(tmp_path):
    matrices = {"logo": SCORES, "logo-2": SCORES[:, ::-1], "m": ESTIMATE, "n": SCORES + ESTIMATE}
    frame = significance_table(matrices, ["logo", "logo-2"], ["m", "n"], 100, 2, 1.5)
    return (
        frame.loc[frame["metric"].isin(["rbo", "effect_spearman", "kappa"]), "difference":"p_holm"]
        .to_numpy()
        .ravel()
        .tolist()
    )


def screened(tmp_path):
    return proposed(SCORES, ["a", "b", "c"], 2).to_numpy().ravel().tolist()


def likelihoods_compared(tmp_path):
    row = likelihood_row(SCORES, np.stack([ESTIMATE, ESTIMATE + SCORES / 4], axis=2), 100, 2)
    return list(row.values())


def by_source(tmp_path):
    """Content x is group a's alone, y is of b and of no group."""
    paths, images_spec = Paths(tmp_path), specs.ImagesSpec(dataset="d", content="c")
    save_images(paths.images(), images_spec, IMAGES, IDS)
    table = pd.DataFrame({"id": IDS, "label": ["x"] * 4 + ["y"] * 8})
    table_spec = specs.TableSpec(dataset="d", content=specs.digest(table.to_csv(index=False)))
    write_csv(paths.table(), table)
    write_record(record_of(paths.table()), table_spec, [paths.table()], seconds=0)
    scores = RandomSpec(groups=["a", "b"], buckets={}, seed=0)
    ranked = specs.RankingsSpec(scores=dict.fromkeys(["o", "m"], scores.digest()), files={}, queries={})
    spec = specs.SourcesSpec(
        metrics=specs.MetricsSpec(
            rankings=ranked.digest(), oracles=["o"], methods=["m"], files={"o": "logo-1", "m": "m"}, settings=METRICS
        ),
        images=images_spec.digest(),
        table=table_spec.digest(),
        members=save_groups(paths),
        query_table=None,
        buckets=save_queries(paths),
    )
    frames = [
        rankings_frame(name, ["q0", "q1"], ["a", "b"], matrix[:2, :2], None, None)
        for name, matrix in (("o", SCORES), ("m", ESTIMATE))
    ]
    write_csv(paths.rankings(), pd.concat(frames))
    write_record(record_of(paths.rankings()), ranked, [paths.rankings()], seconds=0)
    for file in ("logo-1", "m"):
        write_record(paths.scores_record(file), scores, [], seconds=0, **COST)
    run_stage(make_table, spec=spec.canonical(), results=tmp_path, output=paths.metrics_by_source())
    frame = pd.read_csv(paths.metrics_by_source())
    return [*frame["source"] + " " + frame["method"], *frame["n_queries"], *frame["rbo"], frame["size_ratio"][1]]


def reliable(tmp_path):
    p = np.exp(SCORES) / np.exp(SCORES).sum(axis=1, keepdims=True)
    queries, groups = ["q0", "q1", "q2", "q3"], ["a", "b", "c"]
    runs = [Scores(queries, groups, scores, None, p / 2, p) for scores in (SCORES, ESTIMATE)]
    return reliability_table(runs, SCORES[::-1]).drop(columns="probability").to_numpy().ravel().tolist()


def linear_datamodeling(tmp_path):
    groups, outputs = ["a", "b", "c"], np.cos(np.arange(24.0)).reshape(4, 6)
    subsets = kept_by_subset(groups, config.Lds(subsets=3, alpha=0.6, seed=2))
    every = kept_by_subset(groups, config.Lds(subsets=6, sizes="shapley", seed=2))
    values = {
        "m": lds(ESTIMATE, kept_matrix(groups, subsets), np.cos(np.arange(12.0)).reshape(4, 3)),
        "shapley": held_out_lds("shapley", kept_matrix(groups, every), outputs, np.ones(4)),
    }
    frame = lds_table(values, 3, "fixed", 0.6, 100, 2)[["lds", "lds_low", "lds_high"]]
    return [*map("".join, [*subsets, *every]), *frame.to_numpy().ravel()]


def chosen_removals(tmp_path):
    removals = at_random(["a", "b", "c"], GROUPS, ["q0", "q1"], [1, 2], 5)
    frame, sets = removal_sets(removals, {"a": set(IDS[:4]), "b": set(IDS[3:7]), "c": set(IDS[9:])}, 12, 1)
    return [*frame["model"], *(len(ids) for ids in sets.values())]


def removed(tmp_path):
    def moved(model):
        images = IMAGES[:2] if model == "x" else IMAGES[2:4]
        rise = np.array([2.0, 5.0]) * len(model)
        return {"loss_rise": rise, "mse": mse(QUERIES, images), "ssim": ssim(QUERIES, images)}

    sets = pd.DataFrame({"method": "m", "unit": GROUPS, "k": 1, "query": ["q0", "q1"], "model": ["x", "yy"]})
    frame = removal_table(sets, ["q0", "q1"], moved, 100, 2)
    return frame.drop(columns=["method", "unit", "k", "n_queries"]).loc[0].tolist()


def sweep(tmp_path):
    spec = specs.SweepSpec(
        scores={},
        oracles=["o", "p"],
        methods={"m": "guda", "m@steps=4": "guda"},
        variants={"m": {"steps": 8}, "m@steps=4": {"steps": 4}},
        metrics=METRICS,
    )
    matrices = {"o": SCORES, "p": SCORES[::-1], "m": ESTIMATE, "m@steps=4": ESTIMATE[::-1]}
    frame = sweep_table(matrices, dict.fromkeys(matrices, 3.0), dict.fromkeys(matrices, 1.5), spec)
    columns = ["variant", "oracle", "chosen", "top1", "top1_high", "effect_spearman", "build_seconds", "health_worst"]
    columns += ["contrast_spearman", "kappa", "size_ratio"]
    return frame.loc[[1, 3, 4], columns].to_numpy().ravel().tolist()


STAGES = {
    specs.LikelihoodTableSpec: likelihoods_compared,
    specs.RankingsSpec: rankings,
    specs.MetricsSpec: metrics,
    specs.ExemplarsSpec: exemplars,
    specs.SignificanceSpec: significance,
    specs.QualitySpec: quality,
    specs.CurvesSpec: curves,
    specs.SourcesSpec: by_source,
    specs.ScreenSpec: screened,
    specs.ReliabilitySpec: reliable,
    specs.LdsSpec: linear_datamodeling,
    specs.RemovalSetsSpec: chosen_removals,
    specs.RemovalSpec: removed,
    specs.LatentRemovalSpec: removed,
    specs.SweepSpec: sweep,
}
# Each stage's version with its numbers.
GOLDEN = {
    specs.LikelihoodTableSpec: (2, [4, 12, 0.638115, -0.224195, 0.857358, 0.541601, -0.462687, 0.838939, 0.25, 0.0, 0.5,
        0.296601]),
    specs.RankingsSpec: (4, ["acbcabbacacb", 3.0, 2.0, 1.0, 4.0, 0.5, 0.25, 5.0, 1.0, -2.0, 2.0, 1.5, 1.0, 0.3,
        0.2, 0.1]),
    specs.ExemplarsSpec: (1, [4, 3, 0.5, 0.0, 1.0, 0.708333, 1.75]),
    specs.MetricsSpec: (5, [0.25, 0.0, 0.5, 0.760648, 0.640221, 0.491071, 0.0, 0.833333, 1.5, 1.25, 3.5, 0.333333,
        -0.0909091, 0.8, 0.8, 1.0, 0.643678, 0.645833, 0.58, "logo", "m", "constant"]),
    specs.SignificanceSpec: (3, [0.205258, 0.0415129, 0.369004, 0.019802, 0.039604, 0.727273, -0.333333, 1.81, 0.316832,
        0.633663, 0.694591, 0.0, 2.0, 0.772277, 1.0, 0.0415129, -0.101476, 0.189345, 0.554455, 0.554455, 0.0, -1.33333,
        1.33333, 1.0, 1.0, 0.894591, 0.0, 2.0, 0.613861, 1.0]),
    specs.SourcesSpec: (5, ["sole o", "sole m", "sole constant", "shared o", "shared m", "shared constant", 1, 1, 1, 1,
        1, 1, 1.0, 0.473684, 1.0, 1.0, 1.0, 1.0, 0.25]),
    specs.ScreenSpec: (2, ["a", 1.0, 2, 1.625, "b", 1.0, 1, 1.8125]),
    specs.ReliabilitySpec: (1, [0.0, 0.2, 3.0, 0.0981081, 0.0, 0.0, 0.4, 0.6, 1.0, 0.50648, 0.0, 1.0, 0.6, 0.8, 1.0,
        0.665241, 0.0, 1.0, 0.9, 0.95, 2.0, 0.949023, 1.0, 0.0, 0.95, 1.0, 1.0, 0.981135, 0.0, 0.0, 0.0, 0.2, 3.0,
        0.0490541, 0.0, 0.0, 0.2, 0.4, 2.0, 0.29293, 0.0, 1.0, 0.4, 0.6, 3.0, 0.479864, 0.666667, 0.0]),
    specs.LdsSpec: (3, ["ab", "bc", "ac", "a", "bc", "b", "ac", "c", "ab", 0.5, -0.25, 1.0, -0.5, -0.5, -0.5]),
    specs.RemovalSetsSpec: (3, ["logo-1/c", "removed-1/f013023e18abb0281f50", "logo-1/b",
        "removed-1/f013023e18abb0281f50", 7]),
    specs.RemovalSpec: (2, [6.0, 2.0, 10.0, 0.081847, 0.207536, 4.5, 0.0744149, 0.145452]),
    specs.LatentRemovalSpec: (1, [6.0, 2.0, 10.0, 0.081847, 0.207536, 4.5, 0.0744149, 0.145452]),
    specs.SweepSpec: (5, ["m", "p", False, 0.0, 0.0, 0.316228, 3.0, 1.5, 0.8, -0.454545, 0.411442, "m@steps=4", "p",
        True, 0.25, 0.75, 0.105409, 3.0, 1.5, 0.8, -0.0909091, 0.643678, "ceiling", "o", False, 0.5, 1.0, 0.6, 3.0, 1.5,
        0.6, 0.2, 1.08817]),
    specs.QualitySpec: (1, [0.3, 0.4, 0.1, 12.0, 0.91667, 1.0, 0.83333, 0.2, 2.33135, -0.57477, 1.25, 1.03247, 1.03749,
        2.5, 3.5, 1.05502, 0.97513, -1.0]),
    specs.CurvesSpec: (1, ["base", 1, 0.9, -1.0, -1.0, "base", 2, 0.8, 0.5, 0.6, "base", 3, 0.7, -1.0, -1.0, "base", 4,
        0.6, 0.3, 0.4]),
}  # fmt: skip

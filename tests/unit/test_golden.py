"""A few pinned numbers of every stage on small fixed inputs, with the stage's version.

Specs do not know the code: when a stage's numbers move for the same spec, its version must go up, or files made by the
old code pass for new ones. Nothing here reads the configuration's defaults, and no stage's input is another's output.
"""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch

import count_groups
import import_model
import import_queries
import measure_by_source
import sample_calibration
import write_exclusion
from guda import config, specs
from guda.artifacts import load_tensors, pack_ids, read_csv, save_tensors, unpack_ids, write_csv, write_png
from guda.attribution import get_method
from guda.classifier import GroupClassifier, posteriors, train_classifier
from guda.datasets import load_dataset
from guda.denoisers import load_denoiser, new_denoiser
from guda.elbo import kl_terms
from guda.features import denoiser_features
from guda.fisher import diagonal_fisher
from guda.gradients import projected_gradients
from guda.groups import read_groups, read_members, write_members
from guda.image_metrics import mse, ssim
from guda.imported_models import source_digest
from guda.influence import abu_influence, mucs_influence
from guda.lds import kept_by_subset, kept_matrix, lds_table
from guda.likelihood import log_likelihoods
from guda.likelihood_table import likelihood_row
from guda.memberships import DrawnLabels, Memberships
from guda.metrics_table import metrics_table
from guda.noise_schedule import NoiseSchedule
from guda.paths import BASE, CALIBRATION, TRAINING, Paths, record_of
from guda.queries import content_digest, given_queries, of_bucket, queries_by_bucket
from guda.ranking import rankings_frame
from guda.records import write_record
from guda.removal import GROUPS, at_random, removal_sets, removal_table
from guda.sampling import generate
from guda.significance import significance_table
from guda.specs import digest_lines
from guda.sweep_table import sweep_table
from guda.training import train
from guda.training_set import TrainingSet
from guda.unlearning import esd, finetune, neggrad
from guda.unlearning.neighbors import nearest_retained
from guda.unlearning.retrack import unlearn

MOVED = (
    "the numbers of stage {stage} moved, or its version did: when the new numbers are right, raise `version` of "
    "{spec} in guda/specs/ (so that old files are made again) and put both into GOLDEN"
)
IDS = [f"i{index:02d}" for index in range(12)]
IMAGES = (np.arange(12 * 64) ** 2 * 37 % 251).astype(np.uint8).reshape(12, 1, 8, 8)
QUERIES = np.stack([IMAGES[:4].mean(0), IMAGES[4:].mean(0)]).astype(np.uint8)  # in the midst of group a; of the rest
MEMBERS = {"a": IDS[:4], "b": IDS[4:7]}
SCORES = np.array([[3.0, 1.0, 2.0], [0.5, 0.25, 4.0], [1.0, 5.0, -2.0], [2.0, 1.0, 1.5]])
ESTIMATE = np.array([[2.0, 2.5, 1.0], [1.0, 0.5, 3.0], [2.0, 1.0, 0.0], [1.0, 2.0, 1.9]])
SCHEDULE = config.NoiseSchedule(
    num_train_timesteps=100,
    beta_schedule="squaredcos_cap_v2",
    beta_start=1.0e-4,
    beta_end=0.02,
    prediction_type="epsilon",
)
UNET = config.UNet(
    block_out_channels=[8, 8],
    layers_per_block=1,
    down_block_types=["DownBlock2D", "DownBlock2D"],
    mid_block_type="UNetMidBlock2D",
    up_block_types=["UpBlock2D", "UpBlock2D"],
    add_attention=False,
    attention_head_dim=8,
    norm_num_groups=4,
    attn_norm_num_groups=None,
    norm_eps=1.0e-5,
    act_fn="silu",
    dropout=0.0,
    resnet_time_scale_shift="default",
    time_embedding_dim=None,
    freq_shift=0,
    flip_sin_to_cos=True,
    center_input_sample=False,
    downsample_padding=1,
    downsample_type="conv",
    upsample_type="conv",
    mid_block_scale_factor=1.0,
    learned_variance=False,
)
OPTIMISATION = {
    "steps": 6,
    "batch_size": 4,
    "learning_rate": 5.0e-3,
    "weight_decay": 0.5,
    "adam_beta2": 0.999,
    "warmup_steps": 1,
    "decay": "cosine",
    "max_grad_norm": 1.0,
    "seed": 3,
}
METRICS = config.Metrics(bootstrap_samples=100, seed=2, decisive_ratio=1.5, content="label")
COST = {"build_seconds": 6.0, "query_seconds": 2.0, "build_evaluations": 5, "query_evaluations": 7}
TRAINING_SET = TrainingSet(torch.from_numpy(IMAGES), IDS)
QUERY_SET = TrainingSet(torch.from_numpy(QUERIES), ["q0", "q1"])
PARTS = ["weight", "bias"]
ASKED = {"train_sample": 3, "loss_steps": 4}
ABU = {"seed": 2, "steps": 2, "step_size": 1.0e-3, "damping": 0.5, "query_steps": 4, "parameters": None}
ELBO = specs.ElboSettings(noise_schedule=SCHEDULE, seed=5, steps=[10, 30, 70], first=10, last=80)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fixed_denoiser(n_labels=None):
    return fixed(new_denoiser(UNET, NoiseSchedule.from_config(SCHEDULE), (1, 8, 8), n_labels))


def fixed_classifier():
    return fixed(GroupClassifier(UNET, NoiseSchedule.from_config(SCHEDULE), (1, 8, 8), 2))


def fixed(network):
    """The network with weights that are a formula, so that no generator of random numbers matters."""
    start = 0
    with torch.no_grad():
        for parameter in network.parameters():
            wave = torch.cos(1.7 * torch.arange(start, start + parameter.numel(), dtype=torch.float64))
            parameter.copy_((0.15 * wave + 0.1).reshape(parameter.shape))
            start += parameter.numel()
    return network.eval()


@torch.no_grad()
def summary(denoiser):
    """Numbers that any change of the weights moves: their mean size, and predictions at one point."""
    sizes = torch.cat([parameter.flatten() for parameter in denoiser.parameters()]).abs()
    x = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)
    noise = denoiser.predict_noise(x, torch.tensor([40])).flatten().double()
    return [sizes.double().mean().item(), noise.abs().mean().item(), *noise[[0, 27, 63]].tolist()]


def save_images(path, spec, images, ids):
    save_tensors(path, {"images": torch.from_numpy(images), "ids": pack_ids(ids)}, spec)


def save_groups(paths):
    """Files of the groups in MEMBERS, and the digests of their specs."""
    digests = {}
    for group, members in MEMBERS.items():
        spec = specs.GroupSpec(dataset="d", group=group, members=digest_lines(members))
        write_members(paths.group(group), spec, members)
        digests[group] = spec.digest()
    return digests


def save_queries(paths):
    """A bucket of queries; returns the digests by bucket."""
    spec = specs.QueriesSpec(
        base="b", noise_schedule=SCHEDULE, seed=0, sampler="ddim", sampling_steps=1, ids=["q0", "q1"]
    )
    save_images(paths.queries("bucket-0000"), spec, QUERIES, spec.ids)
    return {"bucket-0000": spec.digest()}


def run_stage(stage, **flags):
    """Call a stage program's main function, in this process."""
    arguments = [text for flag, value in flags.items() for text in (f"--{flag}", str(value))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [stage.__name__, *arguments])
        stage.main()


# --- the stages --------------------------------------------------------------------------------------


def images(tmp_path):
    return [load_dataset(config.Data()).images_spec().content]


def table(tmp_path):
    return [load_dataset(config.Data()).table_spec().content]


def group(tmp_path):
    groups = read_groups(load_dataset(config.Data()).table, config.Data(groups=["amber", "dune"]))
    return [value for members in groups.values() for value in (len(members), digest_lines(members))]


def neighbors(tmp_path):
    forget = torch.tensor([name in MEMBERS["a"] for name in IDS])
    rows, distances = nearest_retained(torch.from_numpy(IMAGES), forget, 2)
    return [*rows.flatten().tolist(), *distances[:2].flatten().tolist()]


def sizes(tmp_path):
    spec = specs.GroupSizesSpec(members=save_groups(Paths(tmp_path)))
    run_stage(count_groups, spec=spec.canonical(), results=tmp_path, output=tmp_path / "groups.csv")
    return read_csv(tmp_path / "groups.csv", numbers=("n_images", "n_alone")).to_numpy().ravel().tolist()


def trained(tmp_path):
    settings = config.Training(**OPTIMISATION, ema_decay=0.5, flip=False)
    denoiser, evaluations = train(torch.from_numpy(IMAGES), UNET, NoiseSchedule.from_config(SCHEDULE), settings)
    return [evaluations, *summary(denoiser)]


def unlearned(tmp_path):
    forget = torch.tensor([name in MEMBERS["a"] for name in IDS])
    nearest = torch.tensor([[4, 5], [6, 7], [8, 9], [10, 11]])
    settings = config.Unlearning(
        **OPTIMISATION, forget_weight=0.3, n_neighbors=2, preserve="denoising", max_correction_norm=None
    )
    denoiser, evaluations = unlearn(fixed_denoiser(), torch.from_numpy(IMAGES), forget, nearest, settings)
    return [evaluations, *summary(denoiser)]


def finetuned(tmp_path):
    forget = torch.tensor([name in MEMBERS["a"] for name in IDS])
    settings = config.FineTuning(**OPTIMISATION)
    denoiser, evaluations = finetune.unlearn(fixed_denoiser(), torch.from_numpy(IMAGES), forget, settings)
    return [evaluations, *summary(denoiser)]


def driven(tmp_path):
    forget = torch.tensor([name in MEMBERS["a"] for name in IDS])
    settings = config.NegGrad(**OPTIMISATION, preserve_weight=0.5)
    denoiser, evaluations = neggrad.unlearn(fixed_denoiser(), torch.from_numpy(IMAGES), forget, settings)
    return [evaluations, *summary(denoiser)]


def guided(tmp_path):
    forget = torch.tensor([name in MEMBERS["a"] for name in IDS])
    settings = config.Esd(**OPTIMISATION, forget_weight=0.3, guidance=2.0, preserve="distillation")
    conditional = fixed_denoiser(n_labels=3)
    denoiser, evaluations = esd.unlearn(fixed_denoiser(), torch.from_numpy(IMAGES), forget, conditional, 1, settings)
    return [evaluations, *summary(denoiser)]


def imported(tmp_path):
    """A folder that diffusers wrote gives the very weights that are in it."""
    fixed_denoiser().unet.save_pretrained(tmp_path / "foreign")
    spec = specs.ImportedModelSpec(
        content=source_digest(str(tmp_path / "foreign"), "key"), shape=[1, 8, 8], unet=UNET, noise_schedule=SCHEDULE
    )
    imports = json.dumps({BASE: [str(tmp_path / "foreign"), "key"]})
    run_stage(import_model, spec=spec.canonical(), name=BASE, imports=imports, model=tmp_path / "model")
    denoiser, _ = load_denoiser(tmp_path / "model", NoiseSchedule.from_config(SCHEDULE), spec.digest())
    return summary(denoiser)


def query_files(tmp_path):
    folder, bucket = tmp_path / "files", "bucket-0001"
    for name, image in zip(IDS, IMAGES, strict=True):
        write_png(folder / f"{name}.png", image)
    ids = queries_by_bucket(sorted(f"{name}.png" for name in IDS), 2)[bucket]
    data, settings = config.Data(), config.Queries(folder=str(folder), buckets=2)
    content = content_digest(of_bucket(given_queries(data, settings), ids))
    spec = specs.QueryFilesSpec(bucket=bucket, buckets=2, shape=[1, 8, 8], content=content)
    sections = {"data": data.model_dump_json(), "queries": settings.model_dump_json()}
    run_stage(import_queries, spec=spec.canonical(), **sections, output=tmp_path / "bucket")
    tensors, _ = load_tensors(tmp_path / "bucket", spec.digest())
    return [*unpack_ids(tensors["ids"]), *tensors["images"].double().mean((1, 2, 3)).tolist()]


def queries(tmp_path):
    generated = generate(fixed_denoiser(), SCHEDULE, ["q0", "q1"], 7, 4, "ddim").double()
    return [*generated.mean((1, 2, 3)).tolist(), *generated.std((1, 2, 3)).tolist()]


def calibration(tmp_path):
    images_spec = specs.ImagesSpec(dataset="d", content="c")
    save_images(tmp_path / "images", images_spec, IMAGES, IDS)
    spec = specs.CalibrationSpec(images=images_spec.digest(), count=4, seed=1)
    run_stage(sample_calibration, spec=spec.canonical(), images=tmp_path / "images", output=tmp_path / "chosen")
    tensors, _ = load_tensors(tmp_path / "chosen", spec.digest())
    return [*unpack_ids(tensors["ids"]), tensors["images"].double().mean().item()]


def guided_counterfactual(tmp_path):
    return counterfactual(tmp_path, specs.GuidedCounterfactualSpec, "guda_esd", conditional="c")


def memberships():
    return Memberships.of(IDS, [set(members) for members in MEMBERS.values()])


def conditional(tmp_path):
    settings = config.Training(**OPTIMISATION, ema_decay=0.5, flip=False)
    labels = DrawnLabels(memberships(), IDS, 3, 0.2)
    denoiser, evaluations = train(
        torch.from_numpy(IMAGES), UNET, NoiseSchedule.from_config(SCHEDULE), settings, labels=labels
    )
    return [evaluations, *labels.draw(torch.arange(12), 1).tolist(), *summary(denoiser)]


def classifier(tmp_path):
    settings = config.Training(**OPTIMISATION, ema_decay=0.5, flip=True)
    network, evaluations = train_classifier(
        torch.from_numpy(IMAGES), memberships(), UNET, NoiseSchedule.from_config(SCHEDULE), settings
    )
    weights = torch.cat([parameter.flatten() for parameter in network.parameters()])
    return [evaluations, weights.double().abs().mean().item(), *weights[[0, 500, -1]].tolist()]


def conditional_elbo(tmp_path):
    steps = np.array([1, 20, 90])
    terms = kl_terms(fixed_denoiser(n_labels=3), torch.from_numpy(QUERIES), ["q0", "q1"], steps, 5, 4, label=1)
    return terms.flatten().tolist()


def classified(tmp_path):
    steps = np.array([1, 20, 90])
    found = posteriors(fixed_classifier(), torch.from_numpy(QUERIES), ["q0", "q1"], steps, 5, 4)
    return found[..., 0].flatten().tolist()


def likelihood_ratio(tmp_path):
    paths, bucket = Paths(tmp_path), "bucket-0000"
    spec = specs.LikelihoodRatioSpec(elbo=ELBO, model="m", groups=["a", "b"], buckets={bucket: "queries"})
    told = [specs.ConditionalElboSpec(model="m", label=label, samples="queries", elbo=ELBO) for label in (0, 1)]
    jobs = [specs.ElboSpec(model="m", samples="queries", elbo=ELBO), *told]
    for number, (model, job) in enumerate(zip(["conditional", "conditional/a", "conditional/b"], jobs, strict=True)):
        kl = (5 + torch.cos(torch.arange(6, dtype=torch.float64) + 0.9 * number)).reshape(2, 3).float()
        save_tensors(paths.elbo(model, bucket), {"kl": kl, "ids": pack_ids(["q0", "q1"])}, job, model_sha256="s")
    scores = get_method("conditional_elbo").scores(spec, paths)
    return np.stack([scores.score, scores.se, scores.p_top1]).ravel().tolist()


def mean_posterior(tmp_path):
    paths, bucket = Paths(tmp_path), "bucket-0000"
    spec = specs.MeanPosteriorSpec(elbo=ELBO, model="m", groups=["a", "b"], buckets={bucket: "queries"})
    first = torch.tensor([[0.5, 0.75, 0.25], [0.9, 0.3, 0.6]])
    found = {"posteriors": torch.stack([first, 1 - first], dim=2), "ids": pack_ids(["q0", "q1"])}
    save_tensors(paths.posteriors(bucket), found, specs.PosteriorsSpec(model="m", samples="queries", elbo=ELBO))
    scores = get_method("classifier").scores(spec, paths)
    return np.stack([scores.score, scores.se, scores.p_top1]).ravel().tolist()


def elbo(tmp_path):
    terms = kl_terms(fixed_denoiser(), torch.from_numpy(QUERIES), ["q0", "q1"], np.array([1, 20, 90]), 5, 4)
    return terms.flatten().tolist()


def likelihood(tmp_path):
    settings = specs.LikelihoodSettings(noise_schedule=SCHEDULE, queries=2, first=5, steps=3, probes=2, seed=5)
    found = log_likelihoods(fixed_denoiser(), torch.from_numpy(QUERIES), ["q0", "q1"], settings, 4)
    return found.flatten().tolist()


def counterfactual(tmp_path, kind=specs.CounterfactualSpec, method="guda", **fields):
    paths, models = Paths(tmp_path), {BASE: 0, "guda/a": 1, "guda/b": 2}
    spec = kind(
        **fields,
        elbo=ELBO,
        base=BASE,
        models={"a": "guda/a", "b": "guda/b"},
        model_names={"a": "guda/a", "b": "guda/b"},
        neighbors={},
        buckets={"bucket-0000": "queries"},
        calibration="calibration",
        members=save_groups(paths),
    )
    for model, number in models.items():
        for bucket, samples, ids in (("bucket-0000", "queries", ["q0", "q1"]), (CALIBRATION, "calibration", IDS)):
            entries = torch.arange(len(ids) * 3, dtype=torch.float64).reshape(len(ids), 3)
            kl = (5 + torch.cos(entries + 0.9 * number) + 0.2 * bool(number)).float()
            job = specs.ElboSpec(model=model, samples=samples, elbo=ELBO)
            save_tensors(paths.elbo(model, bucket), {"kl": kl, "ids": pack_ids(ids)}, job, model_sha256="s")
    scores = get_method(method).scores(spec, paths)
    return np.stack([scores.score, scores.se, scores.p_top1]).ravel().tolist()


GRADIENTS = specs.GradientsSpec(
    base="b",
    noise_schedule=SCHEDULE,
    samples="s",
    function="mean_output",
    normalise=True,
    steps=[20, 60],
    own_noise=False,
    seed=3,
    projection_dim=4,
)


def gradients(tmp_path):
    numbers = []
    for function, normalise, own_noise in (
        ("loss", False, True),
        ("squared_output", False, False),
        ("mean_output", True, False),
    ):
        changes = {"function": function, "normalise": normalise, "own_noise": own_noise}
        spec = GRADIENTS.model_copy(update=changes)
        phi, residuals = projected_gradients(fixed_denoiser(), torch.from_numpy(QUERIES), ["q0", "q1"], spec, 4)
        numbers += [*phi[1].tolist(), residuals[1].item()]
    return numbers


def gradient_scores(tmp_path):
    paths, images_spec = Paths(tmp_path), specs.ImagesSpec(dataset="d", content="c")
    save_images(paths.images(), images_spec, IMAGES, IDS)
    queries = GRADIENTS.model_copy(update={"samples": "q"})
    phi = np.cos(0.37 * np.arange(14 * 4) ** 2).astype(np.float32).reshape(14, 4)
    residuals = np.linspace(0.5, 1, 12, dtype=np.float32)
    tensors = {"features": phi[:12], "residuals": residuals, "ids": pack_ids(IDS)}
    save_tensors(paths.features("das", TRAINING), tensors, GRADIENTS)
    tensors = {"features": phi[12:], "residuals": residuals[:2], "ids": pack_ids(["q0", "q1"])}
    save_tensors(paths.features("das", "bucket-0000"), tensors, queries)
    spec = specs.GradientScoresSpec(
        method="das",
        images=images_spec.digest(),
        members=save_groups(paths),
        training=GRADIENTS.digest(),
        queries={"bucket-0000": queries.digest()},
        settings=config.Gradients(aggregate="sum", damping="auto"),
    )
    scores = get_method("das").scores(spec, paths)
    return [*scores.score.ravel().tolist(), scores.details["damping"]]


def nearest(tmp_path):
    paths, images_spec = Paths(tmp_path), specs.ImagesSpec(dataset="d", content="c")
    save_images(paths.images(), images_spec, IMAGES, IDS)
    settings = config.Nearest(similarity="euclidean", aggregate="top_k", top_k=2)
    spec = specs.NearestSpec(
        images=images_spec.digest(), members=save_groups(paths), buckets=save_queries(paths), settings=settings
    )
    return get_method("nearest").scores(spec, paths).score.ravel().tolist()


def seen(tmp_path):
    found = denoiser_features(fixed_denoiser(), torch.from_numpy(QUERIES), ["q0", "q1"], 30, 5, 4).double()
    return [*found.shape, *found.mean(1).tolist(), *found[:, [0, 100]].flatten().tolist()]


def embedding(tmp_path):
    paths, images_spec = Paths(tmp_path), specs.ImagesSpec(dataset="d", content="c")
    save_images(paths.images(), images_spec, IMAGES, IDS)
    known = {name: specs.FeaturesSpec(model="m", images=name, noise=None) for name in (TRAINING, "bucket-0000")}
    for (name, spec), ids in zip(known.items(), (IDS, ["q0", "q1"]), strict=True):
        vectors = torch.cos(torch.arange(len(ids) * 3) * 1.3).reshape(-1, 3)
        save_tensors(paths.features("embedding", name), {"features": vectors, "ids": pack_ids(ids)}, spec)
    spec = specs.EmbeddingSpec(
        images=images_spec.digest(),
        training=known[TRAINING].digest(),
        buckets={"bucket-0000": known["bucket-0000"].digest()},
        members=save_groups(paths),
        settings=config.Aggregation(aggregate="top_k", top_k=2),
    )
    return get_method("embedding").scores(spec, paths).score.ravel().tolist()


def fisher(tmp_path):
    settings = config.Fisher(images=3, steps=2, seed=1)
    found, evaluations = diagonal_fisher(fixed_denoiser(), TRAINING_SET, settings, 4)
    return [evaluations, *(found[f"conv_{end}.{kind}"].sum().item() for end in ("in", "out") for kind in PARTS)]


def abu(tmp_path):
    denoiser, settings = fixed_denoiser(), config.AbuInfluence(**ASKED, **ABU)
    curvature = {name: (weight - 0.1) ** 2 for name, weight in denoiser.unet.state_dict().items()}
    found, evaluations = abu_influence(denoiser, QUERY_SET, TRAINING_SET, curvature, True, settings, 8)
    return [evaluations, *found.flatten().tolist()]


def mucs(tmp_path):
    settings = config.MucsInfluence(**ASKED, **OPTIMISATION, forget_weight=0.7)
    found, evaluations = mucs_influence(fixed_denoiser(), QUERY_SET, TRAINING_SET, settings, 8)
    return [evaluations, *found.flatten().tolist()]


def influence_scores(tmp_path):
    paths, job = Paths(tmp_path), specs.RandomSpec(groups=[], buckets={}, seed=0)
    scores = {"scores": torch.from_numpy(SCORES[:, :3]).float(), "ids": pack_ids(["q0", "q1", "q2", "q3"])}
    save_tensors(paths.influence("abu", "b"), scores | {"train_ids": pack_ids(["i01", "i02", "i05"])}, job)
    spec = specs.InfluenceScoresSpec(
        members=save_groups(paths),
        influence={"b": job.digest()},
        fisher=None,
        settings=config.Aggregation(aggregate="sum", top_k=1),
    )
    return get_method("abu").scores(spec, paths).score.ravel().tolist()


def random(tmp_path):
    paths = Paths(tmp_path)
    spec = specs.RandomSpec(groups=["a", "b"], buckets=save_queries(paths), seed=4)
    return get_method("random").scores(spec, paths).score.ravel().tolist()


def rankings(tmp_path):
    frame = rankings_frame("m", ["q0", "q1", "q2", "q3"], ["a", "b", "c"], SCORES, SCORES / 10, None)
    return ["".join(frame["group"]), *frame["score"], *frame["se"][:3]]


def metrics(tmp_path):
    costs = {"logo": COST, "m": COST | {"build_seconds": 1.0}}
    frame = metrics_table({"logo": SCORES, "m": ESTIMATE}, ["logo"], ["m"], costs, METRICS)
    columns = ["top1", "top1_low", "top1_high", "ndcg_exp@3", "rbo", "wpra@3", "kendall", "decisive_auroc", "speedup"]
    return frame.set_index("method").loc["m", columns].tolist()


def significance(tmp_path):
    matrices = {"logo": SCORES, "logo-2": SCORES[:, ::-1], "m": ESTIMATE, "n": SCORES + ESTIMATE}
    frame = significance_table(matrices, ["logo", "logo-2"], ["m", "n"], 100, 2, 1.5)
    return (
        frame.loc[frame["metric"].isin(["rbo", "effect_spearman"]), "difference":"p_holm"].to_numpy().ravel().tolist()
    )


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
    scores = specs.RandomSpec(groups=["a", "b"], buckets={}, seed=0)
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
    run_stage(measure_by_source, spec=spec.canonical(), results=tmp_path, output=paths.metrics_by_source())
    frame = pd.read_csv(paths.metrics_by_source())
    return [*frame["source"] + " " + frame["method"], *frame["n_queries"], *frame["rbo"]]


def exclusion(tmp_path):
    """The images of both groups, which is what a set of removed images may be too."""
    paths, spec = Paths(tmp_path), specs.ExclusionSpec(members=digest_lines(IDS[:7]))
    save_groups(paths)
    files = [paths.group(group) for group in MEMBERS]
    with pytest.MonkeyPatch.context() as patch:
        flags = ["--spec", spec.canonical(), "--output", str(tmp_path / "out")]
        patch.setattr(sys, "argv", ["write_exclusion", *flags, "--groups", *files])
        write_exclusion.main()
    return [spec.digest(), *sorted(read_members(tmp_path / "out", spec.digest()))]


def linear_datamodeling(tmp_path):
    settings, outputs = config.Lds(subsets=3, alpha=0.6, seed=2), np.cos(np.arange(12.0)).reshape(4, 3)
    frame = lds_table({"m": ESTIMATE}, kept_matrix(["a", "b", "c"], settings), outputs, settings, 100, 2)
    return [*map("".join, kept_by_subset(["a", "b", "c"], settings)), *frame.loc[0, ["lds", "lds_low", "lds_high"]]]


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
    frame = sweep_table(matrices, dict.fromkeys(matrices, 3.0), spec)
    columns = ["variant", "oracle", "chosen", "top1", "top1_high", "effect_spearman", "build_seconds"]
    return frame.loc[[1, 3, 4], columns].to_numpy().ravel().tolist()


STAGES = {
    specs.ImagesSpec: images,
    specs.TableSpec: table,
    specs.GroupSpec: group,
    specs.NeighborsSpec: neighbors,
    specs.GroupSizesSpec: sizes,
    specs.TrainSpec: trained,
    specs.UnlearnSpec: unlearned,
    specs.EsdSpec: guided,
    specs.FinetuneSpec: finetuned,
    specs.NegGradSpec: driven,
    specs.ImportedModelSpec: imported,
    specs.QueriesSpec: queries,
    specs.QueryFilesSpec: query_files,
    specs.CalibrationSpec: calibration,
    specs.ElboSpec: elbo,
    specs.LikelihoodSpec: likelihood,
    specs.LikelihoodTableSpec: likelihoods_compared,
    specs.CounterfactualSpec: counterfactual,
    specs.GradientsSpec: gradients,
    specs.GradientScoresSpec: gradient_scores,
    specs.GuidedCounterfactualSpec: guided_counterfactual,
    specs.ConditionalSpec: conditional,
    specs.ConditionalElboSpec: conditional_elbo,
    specs.LikelihoodRatioSpec: likelihood_ratio,
    specs.ClassifierSpec: classifier,
    specs.PosteriorsSpec: classified,
    specs.MeanPosteriorSpec: mean_posterior,
    specs.NearestSpec: nearest,
    specs.FeaturesSpec: seen,
    specs.EmbeddingSpec: embedding,
    specs.FisherSpec: fisher,
    specs.AbuSpec: abu,
    specs.MucsSpec: mucs,
    specs.InfluenceScoresSpec: influence_scores,
    specs.RandomSpec: random,
    specs.RankingsSpec: rankings,
    specs.MetricsSpec: metrics,
    specs.SignificanceSpec: significance,
    specs.SourcesSpec: by_source,
    specs.ExclusionSpec: exclusion,
    specs.LdsSpec: linear_datamodeling,
    specs.RemovalSetsSpec: chosen_removals,
    specs.RemovalSpec: removed,
    specs.SweepSpec: sweep,
}
# Each stage's version with its numbers.
GOLDEN = {
    specs.ImagesSpec: (1, ["a95be490cd15bf779add"]),
    specs.TableSpec: (1, ["e6ae98ec5b3fffb9ccd5"]),
    specs.GroupSpec: (1, [360, "eaab8316398c8f331109", 241, "9d92d5b71f757a6cd7b7"]),
    specs.GroupSizesSpec: (1, ["a", 4, 4, "b", 3, 3]),
    specs.NeighborsSpec: (1, [5, 9, 9, 4, 10, 7, 8, 6, 5.53266, 6.50048, 4.93651, 5.93387]),
    specs.TrainSpec: (1, [72, 0.0728278, 0.223771, -0.121722, -0.22489, 0.144224]),
    specs.UnlearnSpec: (1, [144, 0.116679, 0.326993, 0.162894, 0.254282, 0.295345]),
    specs.EsdSpec: (1, [240, 0.116456, 0.564062, 0.168741, 0.526958, 0.465119]),
    specs.FinetuneSpec: (1, [72, 0.116584, 0.323769, 0.162413, 0.253164, 0.292299]),
    specs.NegGradSpec: (1, [144, 0.117401, 1.05015, 0.240952, 1.31265, 0.684715]),
    specs.ImportedModelSpec: (1, [0.117637, 0.593182, 0.172444, 0.518609, 0.526226]),
    specs.QueryFilesSpec: (1, [*(f"i{index:02d}.png" for index in (0, 1, 2, 3, 7, 9, 10, 11)),
        139.578, 122.672, 123.344, 137.672, 135.453, 122.156, 126.188, 139.953]),
    specs.QueriesSpec: (1, [80.5469, 64.3594, 95.6143, 89.2687]),
    specs.CalibrationSpec: (1, ["i00", "i04", "i06", "i10", 135.266]),
    specs.ElboSpec: (1, [54.298, 4.72708, 10.6503, 92.35, 5.26204, 11.2673]),
    specs.LikelihoodSpec: (1, [-526.653, -526.481, -520.919, -533.035]),
    specs.LikelihoodTableSpec: (1, [4, 12, 0.638115, -0.224195, 0.857358, 0.541601, -0.462687, 0.838939, 0.25, 0.0, 0.5,
        0.296601]),
    specs.CounterfactualSpec: (1, [-44.3513, -77.1373, 50.065, 67.0096, 19.5318, 42.3369, 21.336, 40.2654,
        0.888, 0.112, 0.235, 0.765]),
    specs.GradientsSpec: (1, [1.24931, -1.36344, 2.13235, -0.45024, 1.11128, 1.37642, -1.43645, 2.62482, -0.674487,
        1.28088, 0.358145, -0.539418, 0.809311, -0.143913, 1.28088]),
    specs.GradientScoresSpec: (1, [0.0130265, 0.0056955, 0.0129048, 0.00683904, 0.562341]),
    specs.GuidedCounterfactualSpec: (1, [-44.3513, -77.1373, 50.065, 67.0096, 19.5318, 42.3369, 21.336, 40.2654,
        0.888, 0.112, 0.235, 0.765]),
    specs.ConditionalSpec: (1, [72, 0, 2, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 0.0771034, 0.261268, -0.243626,
        -0.0814676, 0.160345]),
    specs.ConditionalElboSpec: (1, [53.4569, 4.57313, 10.4217, 90.1709, 5.10697, 10.8635]),
    specs.LikelihoodRatioSpec: (1, [46.8026, 68.7934, -47.6137, -75.3535, 20.983, 41.7273, 19.9442, 40.9082,
        0.235, 0.765, 0.888, 0.112]),
    specs.ClassifierSpec: (1, [72, 0.0796537, 0.0428933, 0.0573771, 0.0480543]),
    specs.PosteriorsSpec: (1, [0.497467, 0.531505, 0.565631, 0.583181, 0.599482, 0.461273]),
    specs.MeanPosteriorSpec: (1, [0.5, 0.5, 0.6, 0.4, 0.166667, 0.166667, 0.2, 0.2, 0.506, 0.494, 0.748, 0.252]),
    specs.NearestSpec: (1, [-3.96237, -4.86414, -4.50246, -4.26586]),
    specs.FeaturesSpec: (1, [2, 128, 5.74647, 6.04753, 2.1768, 3.96652, 2.00595, 3.51707]),
    specs.EmbeddingSpec: (1, [0.839941, 0.278274, 0.430809, 0.783133]),
    specs.FisherSpec: (1, [18, 0.00911636, 0.00132414, 1.62403, 1.68201]),
    specs.AbuSpec: (1, [120, 0.136528, 0.136467, 0.124407, 0.154302, 0.153951, 0.140629]),
    specs.MucsSpec: (1, [324, -0.155056, -0.141683, -0.144323, -0.153917, -0.141137, -0.143739]),
    specs.InfluenceScoresSpec: (1, [4.0, 2.0, 0.75, 4.0, 6.0, -2.0, 3.0, 1.5]),
    specs.RandomSpec: (1, [0.0749259, 0.938743, 0.601748, 0.281251]),
    specs.RankingsSpec: (1, ["acbcabbacacb", 3.0, 2.0, 1.0, 4.0, 0.5, 0.25, 5.0, 1.0, -2.0, 2.0, 1.5, 1.0, 0.3,
        0.2, 0.1]),
    specs.MetricsSpec: (1, [0.25, 0.0, 0.5, 0.760648, 0.640221, 0.491071, 0.0, 0.833333, 2.66667]),
    specs.SignificanceSpec: (1, [0.226015, 0.0830258, 0.369004, 0.019802, 0.039604, 0.694591, 0.0, 2.0, 0.772277, 1.0,
        0.0415129, -0.101476, 0.189345, 0.554455, 0.554455, 0.894591, 0.0, 2.0, 0.613861, 1.0]),
    specs.SourcesSpec: (1, ["sole o", "sole m", "shared o", "shared m", 1, 1, 1, 1, 1.0, 0.473684, 1.0, 1.0]),
    specs.ExclusionSpec: (1, ["24174d39921b0c58e242", *IDS[:7]]),
    specs.LdsSpec: (1, ["ab", "bc", "ac", 0.5, -0.25, 1.0]),
    specs.RemovalSetsSpec: (1, ["logo-1/c", "removed-1/f013023e18abb0281f50", "logo-1/b",
        "removed-1/f013023e18abb0281f50", 7]),
    specs.RemovalSpec: (1, [6.0, 2.0, 10.0, 0.081847, 0.207536, 4.5, 0.0744149, 0.145452]),
    specs.SweepSpec: (1, ["m", "p", False, 0.0, 0.0, 0.316228, 3.0, "m@steps=4", "p", True, 0.25, 0.75, 0.105409, 3.0,
        "ceiling", "o", False, 0.5, 1.0, 0.6, 3.0]),
}  # fmt: skip
PICTURES = {
    specs.QueryTableSpec,
    specs.FigureSpec,
    specs.RemovalFigureSpec,
    specs.SweepFigureSpec,
}  # show the numbers of other stages


@pytest.mark.parametrize("spec", STAGES, ids=lambda spec: spec.stage)
def test_numbers_move_only_with_the_version(spec, tmp_path):
    version, numbers = GOLDEN[spec]
    message = MOVED.format(stage=spec.stage, spec=spec.__name__)
    assert spec.version == version, message
    # Names and counts exactly, measurements to what another processor's rounding may change.
    expected = [pytest.approx(x, rel=1e-3, abs=1e-9) if isinstance(x, float) else x for x in numbers]
    assert STAGES[spec](tmp_path) == expected, message


def test_every_stage_is_pinned():
    kinds = [each for kind in specs.Spec.__subclasses__() for each in (kind, *kind.__subclasses__())]
    assert GOLDEN.keys() == STAGES.keys() == set(kinds) - PICTURES

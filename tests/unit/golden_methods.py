"""What methods give on the fixed inputs."""

import numpy as np
import torch
from golden_inputs import GRADIENTS, IDS, IMAGES, SCHEDULE, SCORES, save_groups, save_images, save_queries

from guda import specs
from guda.core.artifacts import pack_ids, save_tensors, write_csv
from guda.core.paths import BASE, CALIBRATION, TRAINING, Paths
from guda.core.records import write_record
from guda.evaluation.scores import Scores, scores_frame
from guda.methods import get_method
from guda.methods.classifier.plan import MeanPosteriorSpec
from guda.methods.conditional.plan import (
    ConditionalPosteriorSpec,
    LikelihoodRatioSpec,
    PromptedPosteriorSpec,
    PromptedRatioSpec,
)
from guda.methods.counterfactual.plan import (
    CounterfactualSpec,
    GuidedCounterfactualSpec,
    OwnBaseCounterfactualSpec,
    RepeatedSpec,
)
from guda.methods.embedding.plan import EmbeddingSpec, FeaturesSpec
from guda.methods.ensemble.plan import EnsembleSpec, Member
from guda.methods.gradients.plan import Gradients, GradientScoresSpec
from guda.methods.instance import Aggregation
from guda.methods.kernel.plan import KernelSpec
from guda.methods.mixture.plan import MixtureSpec
from guda.methods.proxy.plan import ProxySpec
from guda.methods.query_unlearning.plan import InfluenceScoresSpec
from guda.methods.random.plan import RandomSpec
from guda.methods.scaled.plan import ScaledSpec
from guda.methods.similarity.plan import Nearest, NearestSpec
from guda.methods.subsets.plan import GroupValuesSpec
from guda.models.noise_schedule import step_weights

ELBO = specs.ElboSettings(noise_schedule=SCHEDULE, seed=5, steps=[10, 30, 70], first=10, last=80)
MODELS = {"a": "guda/a", "b": "guda/b"}
OF_ANOTHER_SEED = {"a": "guda-seed-7/a", "b": "guda-seed-7/b"}


def guided_counterfactual(tmp_path):
    return counterfactual(tmp_path, GuidedCounterfactualSpec, "guda_esd", conditional="c")


def own_base_counterfactual(tmp_path):
    return counterfactual(tmp_path, OwnBaseCounterfactualSpec, "logo-1", own_base="base-1")


def proxy(tmp_path):
    return counterfactual(tmp_path, ProxySpec, "proxy", own_base="proxy/base", size=0.25)


def log_posterior(tmp_path, kind=ConditionalPosteriorSpec):
    return likelihood_ratio(tmp_path, kind, "conditional_posterior", members=save_groups(Paths(tmp_path)))


def prompted_ratio(tmp_path):
    return likelihood_ratio(tmp_path, PromptedRatioSpec)


def prompted_posterior(tmp_path):
    return log_posterior(tmp_path, PromptedPosteriorSpec)


def likelihood_ratio(tmp_path, kind=LikelihoodRatioSpec, method="conditional_elbo", **fields):
    paths, bucket = Paths(tmp_path), "bucket-0000"
    spec = kind(**fields, elbo=ELBO, model="m", groups=["a", "b"], buckets={bucket: "queries"})
    told = [specs.ConditionalElboSpec(model="m", label=label, samples="queries", elbo=ELBO) for label in (0, 1)]
    jobs = [specs.ElboSpec(model="m", samples="queries", elbo=ELBO), *told]
    for number, (model, job) in enumerate(zip(["conditional", "conditional/a", "conditional/b"], jobs, strict=True)):
        kl = (5 + torch.cos(torch.arange(6, dtype=torch.float64) + 0.9 * number)).reshape(2, 3).float()
        save_tensors(paths.elbo(model, bucket), {"kl": kl, "ids": pack_ids(["q0", "q1"])}, job, model_sha256="s")
    scores = get_method(method).scores(spec, paths)
    return np.stack([scores.score, scores.se, scores.p_top1_scoring]).ravel().tolist()


def mean_posterior(tmp_path):
    paths, bucket = Paths(tmp_path), "bucket-0000"
    spec = MeanPosteriorSpec(elbo=ELBO, model="m", groups=["a", "b"], buckets={bucket: "queries"})
    first = torch.tensor([[0.5, 0.75, 0.25], [0.9, 0.3, 0.6]])
    found = {"posteriors": torch.stack([first, 1 - first], dim=2), "ids": pack_ids(["q0", "q1"])}
    save_tensors(paths.posteriors(bucket), found, specs.PosteriorsSpec(model="m", samples="queries", elbo=ELBO))
    scores = get_method("classifier").scores(spec, paths)
    return np.stack([scores.score, scores.se, scores.p_top1_scoring]).ravel().tolist()


def mixture(tmp_path):
    paths, bucket = Paths(tmp_path), "bucket-0000"
    networks = {"conditional": "m", "classifier": "c"}
    spec = MixtureSpec(**networks, elbo=ELBO, groups=["a", "b"], buckets={bucket: "queries"})
    found = {"kl_differences": torch.cos(torch.arange(12.0)).reshape(2, 3, 2), "ids": pack_ids(["q0", "q1"])}
    save_tensors(paths.mixture(bucket), found, spec.terms(bucket))
    scores = get_method("mixture").scores(spec, paths)
    return np.stack([scores.score, scores.se, scores.p_top1_scoring]).ravel().tolist()


def counterfactual(tmp_path, kind=CounterfactualSpec, method="guda", **fields):
    spec = counterfactual_spec(tmp_path, kind, **fields)
    save_terms(tmp_path, {spec.base_name: 0, "guda/a": 1, "guda/b": 2})
    return counterfactual_scores(tmp_path, method, spec)


def repeated(tmp_path):
    runs = [counterfactual_spec(tmp_path, models=models) for models in (MODELS, OF_ANOTHER_SEED)]
    save_terms(tmp_path, {BASE: 0, "guda/a": 1, "guda/b": 2, "guda-seed-7/a": 1.5, "guda-seed-7/b": 4})
    return counterfactual_scores(tmp_path, "guda", RepeatedSpec(runs=runs))


def counterfactual_spec(tmp_path, kind=CounterfactualSpec, models=MODELS, **fields):
    base = fields.get("own_base", BASE)
    known = {"base": base, "calibration": "calibration", "members": save_groups(Paths(tmp_path))} | fields
    return kind(**known, elbo=ELBO, models=models, model_names=models, neighbors={}, buckets={"bucket-0000": "queries"})


def save_terms(tmp_path, models):
    """Likelihood terms of two queries and of the images by models that a number tells apart."""
    paths = Paths(tmp_path)
    for model, number in models.items():
        for bucket, samples, ids in (("bucket-0000", "queries", ["q0", "q1"]), (CALIBRATION, "calibration", IDS)):
            entries = torch.arange(len(ids) * 3, dtype=torch.float64).reshape(len(ids), 3)
            kl = (5 + torch.cos(entries + 0.9 * number) + 0.2 * bool(number)).float()
            job = specs.ElboSpec(model=model, samples=samples, elbo=ELBO)
            weights = torch.from_numpy(step_weights(np.array(ELBO.steps), ELBO.first, ELBO.last))
            tensors = {"kl": kl, "step_weights": weights, "ids": pack_ids(ids)}
            save_tensors(paths.elbo(model, bucket), tensors, job, model_sha256="s")


def counterfactual_scores(tmp_path, method, spec):
    scores = get_method(method).scores(spec, Paths(tmp_path))
    found = [scores.score, scores.se, scores.p_top1_scoring, scores.p_top1, scores.p_none]
    return np.stack(found).ravel().tolist()


def of_subsets(tmp_path):
    """Of three groups, the values by the models of five subsets."""
    models = {"subset-0/0": "a", "subset-0/1": "b", "subset-0/2": "c", "subset-0/3": "ab", "subset-0/4": "bc"}
    save_terms(tmp_path, {BASE: 0} | {name: 1 + number for number, name in enumerate(models)})
    spec = GroupValuesSpec(
        value="shapley",
        elbo=ELBO,
        base=BASE,
        groups=["a", "b", "c"],
        subsets=[specs.TrainedSubset(model=name, digest=name, kept=list(kept)) for name, kept in models.items()],
        buckets={"bucket-0000": "queries"},
    )
    found = []
    for value in ("shapley", "banzhaf"):
        scores = get_method(value).scores(spec.model_copy(update={"value": value}), Paths(tmp_path))
        found += [scores.score, scores.se, scores.p_top1]
    return np.stack(found).ravel().tolist()


def scaled(tmp_path):
    retrained = counterfactual_spec(tmp_path, models={"a": "logo-100/a"}, calibration=None, members={})
    unlearned = counterfactual_spec(tmp_path)
    save_terms(tmp_path, {BASE: 0, "guda/a": 1, "guda/b": 2, "logo-100/a": 14 / 9})
    return counterfactual_scores(tmp_path, "guda_scaled", ScaledSpec(unlearned=unlearned, retrained=retrained))


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
    spec = GradientScoresSpec(
        method="das",
        images=images_spec.digest(),
        members=save_groups(paths),
        training=GRADIENTS.digest(),
        queries={"bucket-0000": queries.digest()},
        settings=Gradients(aggregate="sum", damping="auto"),
    )
    scores = get_method("das").scores(spec, paths)
    return [*scores.score.ravel().tolist(), scores.details["damping"]]


def kernel(tmp_path):
    paths, job = Paths(tmp_path), RandomSpec(groups=[], buckets={}, seed=0)
    terms = {"kl": np.cos(np.arange(12.0)).reshape(2, 2, 3), "step_weights": np.array([4.0, 20.0, 47.0])}
    save_tensors(paths.kernel("b"), terms | {"ids": pack_ids(["q0", "q1"])}, job)
    scores = get_method("kernel").scores(KernelSpec(groups=["a", "b"], terms={"b": job.digest()}, features={}), paths)
    return np.stack([scores.score, scores.se, scores.p_top1_scoring]).ravel().tolist()


def save_scores(paths, method, score, queries=("q0", "q1"), groups=("a", "b")):
    """A method's score file with its record, as a member of weight 1, or 1/2 where it is not guda."""
    job = RandomSpec(groups=list(groups), buckets={}, seed=len(method))
    write_csv(paths.scores(method), scores_frame(Scores(list(queries), list(groups), np.asarray(score, float))))
    write_record(paths.scores_record(method), job, [paths.scores(method)], seconds=0.0)
    return Member(method=method, weight=1.0 if method == "guda" else 0.5, spec=job.canonical())


def ensemble(tmp_path):
    paths = Paths(tmp_path)
    members = [save_scores(paths, name, SCORES[rows, :2]) for name, rows in (("guda", [0, 1]), ("nearest", [2, 3]))]
    return get_method("ensemble").scores(EnsembleSpec(members=members), paths).score.ravel().tolist()


def nearest(tmp_path):
    paths, images_spec = Paths(tmp_path), specs.ImagesSpec(dataset="d", content="c")
    save_images(paths.images(), images_spec, IMAGES, IDS)
    settings = Nearest(similarity="euclidean", aggregate="top_k", top_k=2)
    spec = NearestSpec(
        images=images_spec.digest(), members=save_groups(paths), buckets=save_queries(paths), settings=settings
    )
    return get_method("nearest").scores(spec, paths).score.ravel().tolist()


def embedding(tmp_path):
    paths, images_spec = Paths(tmp_path), specs.ImagesSpec(dataset="d", content="c")
    save_images(paths.images(), images_spec, IMAGES, IDS)
    known = {name: FeaturesSpec(model="m", images=name, noise=None) for name in (TRAINING, "bucket-0000")}
    for (name, spec), ids in zip(known.items(), (IDS, ["q0", "q1"]), strict=True):
        vectors = torch.cos(torch.arange(len(ids) * 3) * 1.3).reshape(-1, 3)
        save_tensors(paths.features("embedding", name), {"features": vectors, "ids": pack_ids(ids)}, spec)
    spec = EmbeddingSpec(
        images=images_spec.digest(),
        training=known[TRAINING].digest(),
        buckets={"bucket-0000": known["bucket-0000"].digest()},
        members=save_groups(paths),
        settings=Aggregation(aggregate="top_k", top_k=2),
    )
    return get_method("embedding").scores(spec, paths).score.ravel().tolist()


def influence_scores(tmp_path):
    paths, job = Paths(tmp_path), RandomSpec(groups=[], buckets={}, seed=0)
    scores = {"scores": torch.from_numpy(SCORES[:, :3]).float(), "ids": pack_ids(["q0", "q1", "q2", "q3"])}
    save_tensors(paths.influence("abu", "b"), scores | {"train_ids": pack_ids(["i01", "i02", "i05"])}, job)
    spec = InfluenceScoresSpec(
        members=save_groups(paths),
        influence={"b": job.digest()},
        fisher=None,
        settings=Aggregation(aggregate="sum", top_k=1),
    )
    return get_method("abu").scores(spec, paths).score.ravel().tolist()


def random(tmp_path):
    paths = Paths(tmp_path)
    spec = RandomSpec(groups=["a", "b"], buckets=save_queries(paths), seed=4)
    return get_method("random").scores(spec, paths).score.ravel().tolist()


STAGES = {
    CounterfactualSpec: counterfactual,
    GradientScoresSpec: gradient_scores,
    GuidedCounterfactualSpec: guided_counterfactual,
    OwnBaseCounterfactualSpec: own_base_counterfactual,
    ProxySpec: proxy,
    RepeatedSpec: repeated,
    ConditionalPosteriorSpec: log_posterior,
    LikelihoodRatioSpec: likelihood_ratio,
    PromptedPosteriorSpec: prompted_posterior,
    PromptedRatioSpec: prompted_ratio,
    MeanPosteriorSpec: mean_posterior,
    KernelSpec: kernel,
    EnsembleSpec: ensemble,
    MixtureSpec: mixture,
    NearestSpec: nearest,
    EmbeddingSpec: embedding,
    InfluenceScoresSpec: influence_scores,
    RandomSpec: random,
    ScaledSpec: scaled,
    GroupValuesSpec: of_subsets,
}
# Each stage's version with its numbers.
GOLDEN = {
    CounterfactualSpec: (4, [-44.3513, -77.1373, 50.065, 67.0096, 19.5318, 42.3369, 21.336, 40.2654,
        0.888, 0.112, 0.235, 0.765, 0.475, 0.525, 0.504, 0.496,
        0.846154, 0.923077, 0.384615, 0.307692]),
    GradientScoresSpec: (1, [0.0130265, 0.0056955, 0.0129048, 0.00683904, 0.562341]),
    GuidedCounterfactualSpec: (4, [-44.3513, -77.1373, 50.065, 67.0096, 19.5318, 42.3369, 21.336, 40.2654,
        0.888, 0.112, 0.235, 0.765, 0.475, 0.525, 0.504, 0.496,
        0.846154, 0.923077, 0.384615, 0.307692]),
    OwnBaseCounterfactualSpec: (3, [-44.3513, -77.1373, 50.065, 67.0096, 19.5318, 42.3369, 21.336, 40.2654,
        0.888, 0.112, 0.235, 0.765, 0.475, 0.525, 0.504, 0.496,
        0.846154, 0.923077, 0.384615, 0.307692]),
    ProxySpec: (1, [-44.3513, -77.1373, 50.065, 67.0096, 19.5318, 42.3369, 21.336, 40.2654,
        0.888, 0.112, 0.235, 0.765, 0.475, 0.525, 0.504, 0.496,
        0.846154, 0.923077, 0.384615, 0.307692]),
    RepeatedSpec: (2, [-52.1095, -47.1309, 59.3782, 35.5971, 24.6652, 43.5062, 27.0473, 40.0685,
        0.511, 0.489, 0.876, 0.124, 0.366, 0.634, 0.66, 0.34,
        0.846154, 0.769231, 0.307692, 0.538462]),
    ConditionalPosteriorSpec: (1, [-21.7031, -3.75365e-10, -6.72711e-13, -28.0275, 19.262, 5.384, 3.74842, 20.5034,
        0.235, 0.765, 0.888, 0.112]),
    PromptedPosteriorSpec: (1, [-21.7031, -3.75365e-10, -6.72711e-13, -28.0275, 19.262, 5.384, 3.74842, 20.5034,
        0.235, 0.765, 0.888, 0.112]),
    LikelihoodRatioSpec: (2, [46.8026, 68.7934, -47.6137, -75.3535, 20.983, 41.7273, 19.9442, 40.9082,
        0.235, 0.765, 0.888, 0.112]),
    PromptedRatioSpec: (1, [46.8026, 68.7934, -47.6137, -75.3535, 20.983, 41.7273, 19.9442, 40.9082,
        0.235, 0.765, 0.888, 0.112]),
    MeanPosteriorSpec: (2, [0.5, 0.5, 0.6, 0.4, 0.166667, 0.166667, 0.2, 0.2, 0.506, 0.494, 0.748, 0.252]),
    KernelSpec: (1, [-4.75286, -3.70072, 12.0802, -20.2179, 26.7293, 24.5028, 22.0568, 19.5416,
        0.368, 0.632, 0.765, 0.235]),
    EnsembleSpec: (1, [2.34077, 1.65923, 0.539808, 0.210192]),
    MixtureSpec: (1, [-21.9205, -15.3749, -19.8749, -19.283, 18.2241, 47.6122, 18.3658, 40.6713,
        0.368, 0.632, 0.506, 0.494]),
    NearestSpec: (1, [-3.96237, -4.86414, -4.50246, -4.26586]),
    EmbeddingSpec: (1, [0.839941, 0.278274, 0.430809, 0.783133]),
    InfluenceScoresSpec: (1, [4.0, 2.0, 0.75, 4.0, 6.0, -2.0, 3.0, 1.5]),
    ScaledSpec: (3, [-49.6411, -95.2347, 81.6585, 105.222, 27.1618, 58.8756, 29.6708, 55.9949,
        0.888, 0.112, 0.235, 0.765, 0.475, 0.525, 0.504, 0.496,
        0.846154, 0.923077, 0.384615, 0.307692]),
    GroupValuesSpec: (1, [8.15683, -31.1412, -13.6072, 20.9614, 38.5866, 40.1055, 37.6516, 30.3516, 29.2553, 27.0094,
        26.8608, 16.6428, 0.601, 0.197, 0.202, 0.306, 0.367, 0.327, -16.4147, -40.9698, -38.1787, 35.2047, 44.2839,
        54.3488, 35.9396, 25.881, 35.9396, 23.3201, 25.7744, 23.3201, 0.528, 0.33, 0.142, 0.306, 0.317, 0.377]),
    RandomSpec: (1, [0.0749259, 0.938743, 0.601748, 0.281251]),
}  # fmt: skip

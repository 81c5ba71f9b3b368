"""What is computed of images on the fixed inputs."""

import golden_inputs
import numpy as np
import torch
from golden_inputs import GRADIENTS, IDS, IMAGES, OPTIMIZATION, QUERIES, SCHEDULE, UNET, fixed, fixed_denoiser, together
from text_inputs import TOKENS, WIDTH, text_denoiser

from guda import specs
from guda.data.captions import Captions
from guda.data.training_set import TrainingSet
from guda.methods.embedding.plan import FeaturesSpec
from guda.methods.gradients.features import projected_gradients
from guda.methods.gradients.plan import GradientsSpec, PartialGradientsSpec
from guda.methods.kernel.plan import KernelTermsSpec
from guda.methods.kernel.terms import fitted_kernels, kernel_terms
from guda.methods.mixture.plan import MixtureTermsSpec
from guda.methods.mixture.terms import mixture_terms
from guda.methods.query_unlearning.fisher import diagonal_fisher
from guda.methods.query_unlearning.influence import abu_influence, mucs_influence
from guda.methods.query_unlearning.plan import (
    AbuInfluence,
    AbuSpec,
    Fisher,
    FisherSpec,
    MucsInfluence,
    MucsSpec,
    PartialFisherSpec,
)
from guda.models.classifier import GroupClassifier
from guda.models.noise_schedule import NoiseSchedule
from guda.scoring.elbo import kl_terms
from guda.scoring.features import denoiser_features
from guda.scoring.likelihood import log_likelihoods
from guda.scoring.posteriors import posteriors

TRAINING_SET = TrainingSet(torch.from_numpy(IMAGES), IDS)


QUERY_SET = TrainingSet(torch.from_numpy(QUERIES), ["q0", "q1"])


PARTS = ["weight", "bias"]


ASKED = {"train_sample": 3, "loss_steps": 4}


ABU = {"seed": 2, "steps": 2, "step_size": 1.0e-3, "damping": 0.5, "query_steps": 4, "parameters": None}


def fixed_classifier():
    return fixed(GroupClassifier(UNET, NoiseSchedule.from_config(SCHEDULE), (1, 8, 8), 2)).to(golden_inputs.DEVICE)


def conditional_elbo(tmp_path):
    steps = np.array([1, 20, 90])
    task = torch.from_numpy(QUERIES), ["q0", "q1"], steps, 5, 4
    terms = kl_terms(fixed_denoiser(n_labels=3).conditioned_on(torch.tensor([1, 1])), *task)
    return terms.flatten().tolist()


def mixed(tmp_path):
    task = torch.from_numpy(QUERIES), ["q0", "q1"], np.array([1, 20, 90]), 5, 4
    terms = mixture_terms(fixed_denoiser(n_labels=3), fixed_classifier(), *task)
    return (1000 * terms).flatten().tolist()


def classified(tmp_path):
    steps = np.array([1, 20, 90])
    found = posteriors(fixed_classifier(), torch.from_numpy(QUERIES), ["q0", "q1"], steps, 5, 4)
    return found[..., 0].flatten().tolist()


def elbo(tmp_path):
    terms = kl_terms(fixed_denoiser(), torch.from_numpy(QUERIES), ["q0", "q1"], np.array([1, 20, 90]), 5, 4)
    return terms.flatten().tolist()


def likelihood(tmp_path):
    settings = specs.LikelihoodSettings(noise_schedule=SCHEDULE, queries=2, first=5, steps=3, probes=2, seed=5)
    found = log_likelihoods(fixed_denoiser(), torch.from_numpy(QUERIES), ["q0", "q1"], settings, 4)
    return found.flatten().tolist()


def gradients(tmp_path):
    numbers = []
    for function, normalize, own_noise in (
        ("loss", False, True),
        ("squared_output", False, False),
        ("mean_output", True, False),
    ):
        changes = {"function": function, "normalize": normalize, "own_noise": own_noise}
        spec = GRADIENTS.model_copy(update=changes)
        phi, residuals = projected_gradients(fixed_denoiser(), QUERY_SET, spec, 4)
        numbers += [*phi[1].tolist(), residuals[1].item()]
    return numbers


def seen(tmp_path):
    found = denoiser_features(fixed_denoiser(), torch.from_numpy(QUERIES), ["q0", "q1"], 30, 5, 4).double()
    return [*found.shape, *found.mean(1).tolist(), *found[:, [0, 100]].flatten().tolist()]


def kernel(tmp_path):
    members = [torch.arange(4), torch.arange(4, 7)]
    features = [torch.cos(torch.arange(n * 3) * 1.3).reshape(n, 3) for n in (12, 2)]
    kernels, widths = fitted_kernels(TRAINING_SET, members, True, features, golden_inputs.DEVICE)
    terms = kernel_terms(fixed_denoiser(), QUERY_SET, TRAINING_SET, kernels, members, np.array([20, 50]), 5, 4)
    return [*widths.values(), *terms.flatten().tolist()]


def fisher(tmp_path):
    settings = Fisher(images=3, steps=2, seed=1)
    found, evaluations = diagonal_fisher(fixed_denoiser(), TRAINING_SET, settings, 4)
    return [evaluations, *(found[f"conv_{end}.{kind}"].sum().item() for end in ("in", "out") for kind in PARTS)]


def prompted():
    latents = torch.cos(0.3 * torch.arange(12 * 4 * 64, dtype=torch.float64)).reshape(12, 4, 8, 8).float()
    prompts = torch.sin(0.7 * torch.arange(13 * TOKENS * WIDTH, dtype=torch.float64)).reshape(13, TOKENS, WIDTH).float()
    captions = Captions(prompts[:12], prompts[:12, 0], torch.arange(12), torch.arange(13), prompts[12], IDS, seed=0)
    return TrainingSet(latents, IDS, captions)


def partial_gradients(tmp_path):
    numbers = []
    for parameters, rank in (([r"attn2\.to_[kv]"], None), ([r"\.lora_B\."], 2)):
        spec = PartialGradientsSpec(**dict(GRADIENTS), parameters=parameters, lora_rank=rank)
        phi, residuals = projected_gradients(fixed(text_denoiser()).to(golden_inputs.DEVICE), prompted(), spec, 16)
        numbers += [*(1000 * phi[1].astype(float)).tolist(), residuals[1].item()]
    return numbers


def partial_fisher(tmp_path):
    task = prompted(), Fisher(images=3, steps=2, seed=1), 4, [r"attn2\.to_[kv]"]
    found, evaluations = diagonal_fisher(fixed(text_denoiser()).to(golden_inputs.DEVICE), *task)
    first = (values.sum().sqrt().item() for name, values in found.items() if name.startswith("down_blocks"))
    return [evaluations, len(found), *first]


def abu(tmp_path):
    denoiser, settings = fixed_denoiser(), AbuInfluence(**ASKED, **ABU)
    curvature = {name: (weight - 0.1) ** 2 for name, weight in denoiser.unet.state_dict().items()}
    found, evaluations = together(abu_influence(denoiser, QUERY_SET, TRAINING_SET, curvature, True, settings, 8))
    return [evaluations, *found.flatten().tolist()]


def mucs(tmp_path):
    settings = MucsInfluence(**ASKED, **OPTIMIZATION, forget_weight=0.7)
    found, evaluations = together(mucs_influence(fixed_denoiser(), QUERY_SET, TRAINING_SET, settings, 8))
    return [evaluations, *found.flatten().tolist()]


STAGES = {
    specs.ElboSpec: elbo,
    specs.LikelihoodSpec: likelihood,
    GradientsSpec: gradients,
    PartialGradientsSpec: partial_gradients,
    specs.ConditionalElboSpec: conditional_elbo,
    specs.PosteriorsSpec: classified,
    MixtureTermsSpec: mixed,
    FeaturesSpec: seen,
    KernelTermsSpec: kernel,
    FisherSpec: fisher,
    PartialFisherSpec: partial_fisher,
    AbuSpec: abu,
    MucsSpec: mucs,
}
# Each stage's version with its numbers.
GOLDEN = {
    specs.ElboSpec: (1, [54.298, 4.72708, 10.6503, 92.35, 5.26204, 11.2673]),
    specs.LikelihoodSpec: (1, [-526.653, -526.481, -520.919, -533.035]),
    GradientsSpec: (1, [1.24931, -1.36344, 2.13235, -0.45024, 1.11128, 1.37642, -1.43645, 2.62482, -0.674487,
        1.28088, 0.358145, -0.539418, 0.809311, -0.143913, 1.28088]),
    PartialGradientsSpec: (1, [-320.106, -394.423, 301.425, -109.067, 1.26865, 905.627, -312.671,
        406.421, -475.518, 1.26865]),
    specs.ConditionalElboSpec: (1, [53.4569, 4.57313, 10.4217, 90.1709, 5.10697, 10.8635]),
    specs.PosteriorsSpec: (1, [0.497467, 0.531505, 0.565631, 0.583181, 0.599482, 0.461273]),
    MixtureTermsSpec: (1, [-14.8175, 15.9825, -26.3499, 24.0781, -32.6905, 26.3847, -181.452, 134.962,
        -30.224, 21.0987, -75.4602, 90.9352]),
    FeaturesSpec: (1, [2, 128, 5.74647, 6.04753, 2.1768, 3.96652, 2.00595, 3.51707]),
    KernelTermsSpec: (1, [4.46499, 1.38973, 1.00382, -0.111771, -0.210954, 0.0176221, 0.170578, -0.0280585,
        0.222032, 0.0767354]),
    FisherSpec: (1, [18, 0.00911636, 0.00132414, 1.62403, 1.68201]),
    PartialFisherSpec: (1, [18, 8, 5.37102e-05, 0.00459826]),
    AbuSpec: (1, [120, 0.136528, 0.136467, 0.124407, 0.154302, 0.153951, 0.140629]),
    MucsSpec: (1, [324, -0.155056, -0.141683, -0.144323, -0.153917, -0.141137, -0.143739]),
}  # fmt: skip

"""Section `attribution`: the methods' own settings, each declared in the method's folder."""

from __future__ import annotations

from pydantic import Field

from guda.config.section import Section
from guda.methods.classifier.plan import Classifier
from guda.methods.conditional.plan import Conditional
from guda.methods.counterfactual.plan import Calibration
from guda.methods.embedding.plan import Embedding
from guda.methods.ensemble.plan import Ensemble
from guda.methods.gradients.plan import ComparedGradients
from guda.methods.kernel.plan import Kernel
from guda.methods.proxy.plan import Proxy
from guda.methods.query_unlearning.plan import Abu, Mucs
from guda.methods.random.plan import Random
from guda.methods.scaled.plan import Scaled
from guda.methods.similarity.plan import Nearest
from guda.unlearning.erasediff.plan import EraseDiff
from guda.unlearning.esd.plan import Esd
from guda.unlearning.finetune.plan import Finetune
from guda.unlearning.neggrad.plan import NegGrad
from guda.unlearning.siss.plan import Siss


class Attribution(Section):
    """Settings of the methods that have any, one section per method."""

    calibration: Calibration = Field(
        Calibration(),
        description="Retain calibration of guda: what an unlearned model loses on retain images is damage, not "
        "influence, and is subtracted.",
    )
    guda_scaled: Scaled = Field(
        Scaled(),
        description="guda with the scale of its scores, in nats, set by retraining without one group or a few, at the"
        " cost of one training each. The order of groups does not change.",
    )
    proxy: Proxy = Field(
        Proxy(),
        description="The oracle in small: a narrower network is trained on everything, and without each group. Its "
        "effects have about the oracle's size.",
    )
    conditional: Conditional = Field(
        Conditional(),
        description="The denoiser conditioned on an image's group, for conditional_elbo, conditional_posterior, "
        "mixture and guda_esd. Text-to-image models are conditioned on prompts instead.",
    )
    classifier: Classifier = Field(
        Classifier(),
        description="The classifier of a noisy image's group, for classifier, conditional_posterior and mixture: the "
        "down and middle blocks of a network of the section `unet`, in pixel space.",
    )
    kernel: Kernel = Field(
        Kernel(),
        description="A counterfactual without training: the base model's prediction is shifted by the change in the "
        "weighted mean of the training images near the query when a group's images are left out. One pass"
        " of the base model per step serves all groups.",
    )
    nearest: Nearest = Field(Nearest(), description="Similarity in pixel space.")
    embedding: Embedding = Field(Embedding(), description="Similarity of features.")
    abu: Abu = Field(
        Abu(),
        description="Attribution by unlearning the query (AbU): after a small step up the query's loss, "
        "preconditioned by the Fisher information, on which training images does the loss rise?",
    )
    mucs: Mucs = Field(
        Mucs(),
        description="Mirrored unlearning of the query (MUCS): a few optimizer steps up the query's loss, bounded by "
        "that of predicting zero, while the loss on training images is held down.",
    )
    trak: ComparedGradients = Field(
        ComparedGradients(),
        description="TRAK: gradients of the denoising loss. The three gradient methods evaluate the base model "
        "forwards and backwards `steps` times per training image and query.",
    )
    dtrak: ComparedGradients = Field(ComparedGradients(), description="D-TRAK: gradients of the squared output.")
    das: ComparedGradients = Field(
        ComparedGradients(),
        description="Diffusion Attribution Score: gradients of the output, normalized at each step, and residuals; "
        "two to three times the cost.",
    )
    ensemble: Ensemble = Field(
        Ensemble(),
        description="Several methods as one: the contrasts of each (a score less the image's mean over groups) are "
        "divided by their spread over all queries and averaged with fixed weights. Scale and level stay "
        "those of the first.",
    )
    random: Random = Field(Random(), description="Random scores, the floor of the table.")
    finetune: Finetune = Field(
        Finetune(),
        description="Fine-tuning on the retain set: `unlearn.steps` steps, each on as many images as it takes to "
        "spend as many evaluations as `unlearn` does.",
    )
    neggrad: NegGrad = Field(
        NegGrad(),
        description="Gradient ascent on the denoising loss of the forget set. Keep steps and learning rate low: "
        "nothing else holds the model together.",
    )
    guda_esd: Esd = Field(
        Esd(),
        description="Unlearning by ESD: forget images are steered away from the prediction conditioned on their "
        "group, by the network of `conditional`; a text-to-image model is steered away from its own "
        "prediction for their prompts. For such a model use the learning rate of `text_to_image.anchors`,"
        " and `guidance` 1.",
    )
    guda_erasediff: EraseDiff = Field(
        EraseDiff(),
        description="Unlearning by EraseDiff: training continues on the retain set, under the constraint that the "
        "forget set's predictions approach noise from another distribution.",
    )
    guda_siss: Siss = Field(
        Siss(),
        description="Unlearning by subtracted importance sampled scores (SISS): the loss on all images minus that on "
        "the forget set, from one prediction for both.",
    )

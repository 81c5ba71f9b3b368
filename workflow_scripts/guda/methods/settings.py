"""Section `attribution`: the settings of each method that has any of its own, declared in the method's folder."""

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
    """Settings of the methods that have any of their own."""

    calibration: Calibration = Field(Calibration(), description="Retain calibration of unlearned models.")
    guda_scaled: Scaled = Field(Scaled(), description="The scale of scores by groups that are retrained.")
    conditional: Conditional = Field(Conditional(), description="The denoiser that is told an image's group.")
    classifier: Classifier = Field(Classifier(), description="The classifier that tells a noisy image's group.")
    kernel: Kernel = Field(Kernel(), description="A counterfactual without training, by near training images.")
    nearest: Nearest = Field(Nearest(), description="Pixel similarity.")
    embedding: Embedding = Field(Embedding(), description="Similarity of features.")
    abu: Abu = Field(Abu(), description="Attribution by unlearning the query (AbU).")
    mucs: Mucs = Field(Mucs(), description="Mirrored unlearning of the query (MUCS).")
    trak: ComparedGradients = Field(ComparedGradients(), description="TRAK: gradients of the denoising loss.")
    dtrak: ComparedGradients = Field(ComparedGradients(), description="D-TRAK: gradients of the squared output.")
    das: ComparedGradients = Field(
        ComparedGradients(), description="Diffusion Attribution Score: gradients of the output, and residuals."
    )
    ensemble: Ensemble = Field(Ensemble(), description="Scores of several methods as one.")
    random: Random = Field(Random(), description="Random scores, the floor of the table.")
    finetune: Finetune = Field(Finetune(), description="Fine-tuning on the retained images, at unlearning's price.")
    neggrad: NegGrad = Field(NegGrad(), description="Gradient ascent on the forget images, the floor of unlearning.")
    guda_esd: Esd = Field(Esd(), description="Unlearning by the guidance of the conditional network.")
    guda_erasediff: EraseDiff = Field(EraseDiff(), description="Unlearning by constrained erasure (EraseDiff).")
    guda_siss: Siss = Field(Siss(), description="Unlearning by subtracted importance sampled scores (SISS).")

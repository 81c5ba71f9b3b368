"""The oracle in small: a narrower network, trained on everything and without each group.

Small and large language models respond similarly to a change of training data (Khaddaj et al. 2025, arXiv 2505.16260).
If denoisers do, too, score_k(x) = ELBO(x; proxy) - ELBO(x; proxy without k) estimates the oracle's at less cost.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from guda.config.section import Section, Seed
from guda.core.errors import ConfigError
from guda.core.paths import BASE_PROXY, Paths, proxy_model
from guda.methods.counterfactual.plan import CounterfactualSpec, OwnBaseCounterfactualSpec, Retrained
from guda.methods.method import Needs
from guda.models.network_size import operations
from guda.specs import TrainSpec

if TYPE_CHECKING:
    from guda.config import Training
    from guda.plan.experiment import Experiment


class Proxy(Section):
    width: float = Field(0.5, gt=0, le=1, description="Channels of the proxies, as a share of the base model's.")
    length: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Training steps, as a share of the base model's. Half as many cost half as much and agree less.",
    )
    seed: Seed = Field(
        100,
        description="Training seed of the proxies; must differ from oracle.seeds, whose models see the same batches "
        "and noise.",
    )


class ProxySpec(OwnBaseCounterfactualSpec):
    stage, version = "proxy", 1
    size: float  # operations of a proxy, relative to the base model's


class RetrainedProxies(Retrained):
    """Scores by proxies retrained without each group, compared with a proxy of the base model."""

    kind = ProxySpec

    def applies(self, experiment: Experiment) -> bool:
        return experiment.config.text_to_image is None

    def check(self, experiment: Experiment) -> None:
        """Check that the proxies do not share the randomness of the models that they are measured against."""
        seed = experiment.config.attribution.proxy.seed
        if seed in experiment.config.oracle.seeds:
            raise ConfigError(
                f"attribution.proxy.seed is {seed}, which is one of oracle.seeds: the proxies would see the same "
                "batches and noise as the models that they are measured against; choose another"
            )

    def spec(self, experiment: Experiment) -> ProxySpec:
        names = {group: proxy_model(group) for group in experiment.groups}
        spec = self.compared_with(experiment, BASE_PROXY, names)
        return ProxySpec(**dict(spec), size=relative_size(experiment))

    def parse(self, text: str) -> ProxySpec:
        return ProxySpec.parse(text)

    def run_needs(self, spec: CounterfactualSpec, paths: Paths) -> Needs:
        needs = super().run_needs(spec, paths)
        size = spec.size if isinstance(spec, ProxySpec) else 1.0
        return replace(needs, sizes=dict.fromkeys([*needs.build_records, *needs.query_records], size))


def proxy_spec(experiment: Experiment, excluded: str | None) -> TrainSpec:
    """Spec of the proxy trained without the images of this digest; None: on everything."""
    config = experiment.config
    return TrainSpec(
        images=experiment.images_digest,
        excluded=excluded,
        unet=config.unet.narrowed(config.attribution.proxy.width),
        noise_schedule=config.noise_schedule,
        training=shortened(config.training, config.attribution.proxy),
    )


def relative_size(experiment: Experiment) -> float:
    """Operations of a proxy's forward pass, relative to the base model's."""
    full, width = experiment.config.unet, experiment.config.attribution.proxy.width
    return operations(full.narrowed(width), 1) / operations(full, 1)


def shortened(training: Training, settings: Proxy) -> Training:
    """The base model's training with the proxies' seed and share of the steps, of the warm-up too."""
    steps = max(1, round(settings.length * training.steps))
    warmup = min(round(settings.length * training.warmup_steps), steps - 1)
    return training.model_copy(update={"seed": settings.seed, "steps": steps, "warmup_steps": warmup})

"""Sections of the configuration that are shared: every key with its type, default and meaning.

Those of methods and operators are declared in their own folders; `guda.plan.config` puts the whole together.
"""

from guda.config.data import Data, NoisyPartition, Subset
from guda.config.evaluation import Figure, Lds, Likelihood, Page, Removal, Screen
from guda.config.execution import Execution
from guda.config.exemplars import Exemplars
from guda.config.model import Model, NoiseSchedule, UNet
from guda.config.scoring import Agreement, Elbo, Metrics, Queries, QuerySource, StepSchedule
from guda.config.section import Section
from guda.config.training import (
    Optimization,
    Oracle,
    Training,
)

__all__ = [
    "Agreement",
    "Data",
    "Elbo",
    "Execution",
    "Exemplars",
    "Figure",
    "Lds",
    "Likelihood",
    "Metrics",
    "Model",
    "NoiseSchedule",
    "NoisyPartition",
    "Optimization",
    "Oracle",
    "Page",
    "Queries",
    "QuerySource",
    "Removal",
    "Screen",
    "Section",
    "StepSchedule",
    "Subset",
    "Training",
    "UNet",
]

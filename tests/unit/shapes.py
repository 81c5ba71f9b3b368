"""Checks the shapes of arrays that functions of the library are annotated with: in tests alone.

The library imports jaxtyping's names for type checkers only, so its annotations are texts at run time, which are read
here. What else a function is given is not looked at: it may be a test's own double of a network.
"""

import importlib
import inspect

import jaxtyping
import numpy as np
from beartype import beartype
from torch import Tensor

# Each before those that import its functions.
MODULES = [
    "guda.evaluation.ranking",
    "guda.evaluation.metrics",
    "guda.evaluation.effects",
    "guda.evaluation.relevance",
    "guda.evaluation.subsets",
    "guda.evaluation.group_values",
    "guda.evaluation.two_sample",
    "guda.models.denoisers.unet",
    "guda.models.denoisers.bound",
    "guda.models.sampling",
    "guda.scoring.losses",
    "guda.scoring.elbo",
    "guda.scoring.posteriors",
    "guda.scoring.likelihood",
    "guda.scoring.features",
    "guda.unlearning.retrack.compute",
    "guda.methods.mixture.terms",
    "guda.methods.resampling",
    "guda.methods.another_run",
    "guda.methods.counterfactual.retained",
    "guda.methods.kernel.means",
    "guda.methods.kernel.width",
    "guda.methods.kernel.terms",
    "guda.methods.scaled.compute",
]
KINDS = {name: getattr(jaxtyping, name) for name in ("Float", "Int", "Num", "UInt8")}
NAMES = KINDS | {"Tensor": Tensor, "np": np}


def check_shapes():
    """Put functions that check their arrays in the place of those of MODULES. Returns their names."""
    checked = []
    for name in MODULES:
        module = importlib.import_module(name)
        classes = [each for each in vars(module).values() if inspect.isclass(each) and each.__module__ == name]
        for owner in (module, *classes):
            for key, function in list(vars(owner).items()):
                if inspect.isfunction(function) and inspect.unwrap(function).__module__ == name:
                    hints = array_hints(inspect.unwrap(function))
                    if hints:
                        inspect.unwrap(function).__annotations__ = hints
                        setattr(owner, key, jaxtyping.jaxtyped(function, typechecker=beartype))
                        checked.append(f"{name}.{key}")
    return checked


def array_hints(function):
    """A function's annotations that give shapes."""
    texts = {name: str(hint) for name, hint in function.__annotations__.items()}
    return {name: eval(text, dict(NAMES)) for name, text in texts.items() if any(f"{kind}[" in text for kind in KINDS)}


CHECKED = check_shapes()

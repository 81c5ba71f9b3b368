"""Shapes of arrays are checked in these tests (`conftest.py`), and a wrong one is refused."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from shapes import CHECKED

from guda.evaluation.ranking import ranks
from guda.methods.resampling import deviations, summarize
from guda.scoring.elbo import kl_terms
from guda.scoring.losses import squared_errors
from guda.unlearning.retrack.compute import neighbor_weights

STEPS = torch.tensor([1, 40])


def test_the_core_is_checked():
    assert len(CHECKED) >= 20
    assert {"guda.scoring.elbo.kl_terms", "guda.models.denoisers.unet.training_loss"} <= set(CHECKED)


def test_a_wrong_shape_is_refused(denoiser, images):
    x, noise = torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)
    assert squared_errors(denoiser, x, noise, STEPS).shape == (2,)
    with pytest.raises(TypeCheckError):
        squared_errors(denoiser, x, noise[:, :, :7], STEPS)
    with pytest.raises(TypeCheckError):
        denoiser.predict_noise(x, STEPS[:1])
    with pytest.raises(TypeCheckError):
        kl_terms(denoiser, images[0], ["a"], np.array([1]), 0, 1)
    with pytest.raises(TypeCheckError):
        summarize(np.zeros((2, 3)))
    with pytest.raises(TypeCheckError):
        neighbor_weights(x, torch.zeros(2, 3, 1, 8, 8), torch.ones(2), torch.ones(2))


def test_a_wrong_type_is_refused():
    with pytest.raises(TypeCheckError):
        deviations(np.zeros((2, 3), dtype=np.int64))
    assert ranks([[0.5, 0.25]]).tolist() == [[1.0, 2.0]]

"""Exported models: what diffusers' own pipeline draws with them, beside what is drawn here; and what is refused."""

import json

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, UNet2DModel
from golden_inputs import SCHEDULE, UNET, fixed, run_stage

import export_pipeline
import guda
from guda import config
from guda.core.errors import ArtifactError
from guda.core.paths import ADAPTER
from guda.models.denoisers import load_denoiser, new_denoiser, save_denoiser
from guda.models.imported import check_model
from guda.models.noise_schedule import NoiseSchedule
from guda.models.sampling import _Sampler
from guda.scoring.elbo import kl_terms
from guda.specs import TrainSpec
from guda.unlearning.neggrad.plan import NegGrad, NegGradSpec

RGB = (3, 8, 16)  # channels, height and width that nothing can mix up


def saved(folder, network=UNET, process=SCHEDULE, shape=RGB, n_labels=None, unlearned=False):
    denoiser = fixed(new_denoiser(network, NoiseSchedule.from_config(process), shape, n_labels))
    training = config.Training(steps=2, warmup_steps=1)
    spec = TrainSpec(images="i", excluded=None, unet=network, noise_schedule=process, training=training)
    if unlearned:
        spec = NegGradSpec(base="b", group="g", images="i", noise_schedule=process, settings=NegGrad())
    save_denoiser(folder, denoiser, spec)
    return denoiser


def exported(tmp_path, **how):
    denoiser = saved(tmp_path / "model", **how)
    run_stage(export_pipeline, model=tmp_path / "model", output=tmp_path / "pipeline")
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    return denoiser, pipeline


def drawn_here(denoiser, process, steps, n):
    """Images in 0 .. 1 by the ancestral sampler, of the noise that a pipeline draws from the generator's seed 5."""
    generator = torch.Generator().manual_seed(5)
    timesteps, step = _Sampler("ddpm", process, steps, clip=True).start(
        lambda index: torch.randn(n, *denoiser.image_shape, generator=generator)
    )
    x = torch.randn(n, *denoiser.image_shape, generator=generator)
    for t in timesteps:
        with torch.no_grad():
            x = step(denoiser.predict_noise(x, t.expand(n)), t, x).prev_sample
    return (x / 2 + 0.5).clamp(0, 1)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize(("beta_schedule", "steps"), [("squaredcos_cap_v2", 100), ("linear", 20), ("sigmoid", 20)])
def test_the_pipeline_draws_what_is_drawn_here(beta_schedule, steps, prediction, tmp_path):
    process = SCHEDULE.model_copy(update={"beta_schedule": beta_schedule, "prediction_type": prediction})
    denoiser, pipeline = exported(tmp_path, process=process)
    images = pipeline(
        batch_size=2, generator=torch.Generator().manual_seed(5), num_inference_steps=steps, output_type="pt"
    ).images
    expected = drawn_here(denoiser, process, steps, 2)
    assert expected.shape == (2, *RGB)
    assert expected.std() > 0.05
    torch.testing.assert_close(images, expected, rtol=0, atol=2e-4)


def test_likelihood_bounds_by_the_pipeline_are_those_of_the_model(tmp_path):
    denoiser, pipeline = exported(tmp_path)
    images = torch.randint(0, 256, (3, *RGB), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    terms = guda.elbo(pipeline, images, ids=["a", "b", "c"], steps={"kind": "all", "first": 1, "last": 99})
    expected = -kl_terms(denoiser, images, ["a", "b", "c"], np.arange(1, 100), 0, 512)
    np.testing.assert_allclose(terms.to_numpy(), expected, rtol=1e-5)


def test_models_that_have_unlearned_a_group_are_exported_alike(tmp_path):
    denoiser, pipeline = exported(tmp_path, unlearned=True)
    assert torch.equal(pipeline.unet.conv_out.weight, denoiser.unet.conv_out.weight)
    assert pipeline.scheduler.config.num_train_timesteps == 100


def test_the_network_alone_is_opened_from_the_same_folder_and_the_folder_is_one_to_start_from(tmp_path):
    denoiser, _ = exported(tmp_path)
    opened = UNet2DModel.from_pretrained(tmp_path / "pipeline")
    for name, tensor in denoiser.unet.state_dict().items():
        assert torch.equal(opened.state_dict()[name], tensor)
    check_model(tmp_path / "pipeline", UNET, SCHEDULE, RGB, "model.pretrained")
    with pytest.raises(ArtifactError, match="num_train_timesteps: 100"):
        check_model(tmp_path / "pipeline", UNET, config.NoiseSchedule(), RGB, "model.pretrained")


def test_gray_images_are_drawn_as_gray(tmp_path):
    _, pipeline = exported(tmp_path, shape=(1, 8, 8))
    picture = pipeline(generator=torch.Generator().manual_seed(0), num_inference_steps=2).images[0]
    assert (picture.mode, picture.size) == ("L", (8, 8))


def test_a_learned_variance_is_the_samplers(tmp_path):
    """Its log lies between those of beta~_t and beta_t, at (v + 1) / 2, as it is trained here."""
    network = UNET.model_copy(update={"learned_variance": True})
    _, pipeline = exported(tmp_path, network=network)
    schedule = NoiseSchedule.from_config(SCHEDULE)
    below = (1 - schedule.alphas_cumprod[39]) / (1 - schedule.alphas_cumprod[40])
    beta = 1 - schedule.alphas_cumprod[40] / schedule.alphas_cumprod[39]
    logs = [pipeline.scheduler._get_variance(40, predicted_variance=torch.tensor(v)).item() for v in (-1.0, 0.0, 1.0)]
    assert logs == pytest.approx([np.log(below * beta), np.log(below * beta**2) / 2, np.log(beta)])
    images = pipeline(batch_size=2, num_inference_steps=4, output_type="np").images
    assert images.shape == (2, 8, 16, 3)


def test_what_a_pipeline_cannot_draw_with_is_refused(tmp_path):
    network = UNET.model_copy(update={"norm_num_groups": 4})
    saved(tmp_path / "conditional", network, n_labels=3)
    saved(tmp_path / "unlearned", UNET.model_copy(update={"learned_variance": True}), unlearned=True)
    saved(tmp_path / "damaged")
    (tmp_path / "damaged" / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / ADAPTER).touch()
    for name, settings in {"text": {"_class_name": "UNet2DConditionModel"}, "classifier": {"groups": ["a"]}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(settings))
    for name, message in {
        "conditional": "conditioned on the group, but DDPMPipeline samples from an unconditional UNet2DModel; call",
        "unlearned": "changed only its predicted noise, so its learned variance is stale",
        "adapters": "adapters of a text-to-image model, but .*; load them into its pipeline",
        "text": "the network of a text-to-image model, but .*; open its pipeline with it as `unet`",
        "classifier": r"config\.json: of class None, but .*; name the folder of such a model",
        "damaged": r"config\.json: not the configuration that .* was saved with",
        "absent": r"absent/config\.json: cannot be read",
    }.items():
        with pytest.raises(ArtifactError, match=message):
            run_stage(export_pipeline, model=tmp_path / name, output=tmp_path / "pipeline")
    assert not (tmp_path / "pipeline").exists()
    saved(tmp_path / "good")
    with pytest.raises(ArtifactError, match="good: exists already; name a new folder"):
        run_stage(export_pipeline, model=tmp_path / "good", output=tmp_path / "good")
    assert load_denoiser(tmp_path / "good", NoiseSchedule.from_config(SCHEDULE))

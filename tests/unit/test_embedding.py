"""Features of images and their similarity."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from text_experiments import text_experiment
from text_inputs import LATENTS, prompts, text_denoiser

from guda.core.artifacts import sha256_file
from guda.core.errors import ArtifactError, ConfigError
from guda.core.paths import BASE, TRAINING
from guda.core.seeding import gaussian
from guda.methods import get_method
from guda.methods.embedding.compute import unit_vectors
from guda.methods.embedding.plan import KEY
from guda.models.checkpoints.weights import APART
from guda.models.denoisers import new_denoiser
from guda.models.imported import check_vision_model, vision_digest
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.scoring.features import denoiser_features, load_vision_model, vision_features
from guda.specs import digest

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow_scripts"
IDS = [f"i{index}" for index in range(12)]


def test_unit_vectors_keep_the_direction_and_leave_zeros():
    np.testing.assert_allclose(unit_vectors(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0.0, 0.0]])


def test_features_are_all_positions_of_the_middle_block(denoiser, images):
    """Two resolutions: 8 channels of 4x4 positions."""
    assert denoiser_features(denoiser, images, IDS, 20, 0, 12).shape == (12, 8 * 4 * 4)


def test_features_depend_on_image_id_seed_and_step_alone(denoiser, images):
    whole = denoiser_features(denoiser, images, IDS, 20, 0, 12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    shuffled = denoiser_features(denoiser, images[order], [IDS[row] for row in order], 20, 0, 5)
    torch.testing.assert_close(shuffled, whole[order], rtol=1e-4, atol=1e-5)
    for step, seed in ((21, 0), (20, 1)):
        assert not torch.allclose(denoiser_features(denoiser, images, IDS, step, seed, 12), whole, atol=1e-3)


def test_features_leave_the_network_as_it_was(denoiser, images):
    denoiser_features(denoiser, images, IDS, 20, 0, 12)
    assert not denoiser.unet.mid_block._forward_hooks


def test_a_text_to_image_network_sees_latents_and_one_prompt_for_all():
    denoiser, prompt = text_denoiser(), prompts(1)[0]
    found = denoiser_features(denoiser.conditioned_on(prompt.expand(8, -1, -1)), LATENTS, IDS[:8], 20, 3, 5)
    at, noise = torch.tensor([20]), torch.from_numpy(gaussian(3, "i6", 20, (4, 8, 8)))[None]
    outputs = []
    denoiser.unet.mid_block.register_forward_hook(lambda block, inputs, output: outputs.append(output))
    with torch.no_grad():
        denoiser.predict_noise(denoiser.add_noise(LATENTS[[6]], noise, at), at, prompt[None])
    assert found.shape == (8, 16 * 4 * 4)
    torch.testing.assert_close(found[6], outputs[0].flatten(), rtol=1e-4, atol=1e-5)
    told = denoiser.conditioned_on(prompts(1, seed=11).expand(8, -1, -1))
    other = denoiser_features(told, LATENTS, IDS[:8], 20, 3, 5)
    assert not torch.allclose(other, found, atol=1e-3)


def test_a_network_without_a_middle_block_is_refused():
    with pytest.raises(ArtifactError, match=r"no middle block; name a model in attribution\.embedding\.model"):
        denoiser_features(text_denoiser(mid_block_type=None), LATENTS, IDS[:8], 20, 0, 4)


def test_the_base_model_of_texts_sees_encoded_samples_and_a_vision_model_pixels(vit):
    of = text_experiment(methods=["embedding"], unet={"mid_block_type": None})
    by_vision = text_experiment(methods=["embedding"], attribution={"embedding": {"model": str(vit)}})
    for samples in (TRAINING, "bucket-0000"):
        spec = get_method("embedding").features_spec(of, samples)
        assert (spec.model, spec.images) == (of.model_digest(BASE), of.family.encoded_spec(samples).digest())
        assert get_method("embedding").features_spec(by_vision, samples).images == of.pixels_digest(samples)


def test_the_denoiser_and_transformers_live_in_one_process(tiny_unet, schedule):
    """Making a denoiser hides transformers from diffusers while that is imported, and from nothing else."""
    new_denoiser(tiny_unet, schedule, (1, 8, 8))
    from transformers import AutoModel

    assert AutoModel


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """A tiny vision transformer in a folder, as save_pretrained writes it."""
    from transformers import ViTConfig, ViTModel

    folder = tmp_path_factory.mktemp("vit")
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    ViTModel(ViTConfig(**shape, image_size=16, patch_size=8)).save_pretrained(folder)
    scaling = {"size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    processor = {"image_processor_type": "ViTImageProcessor", **scaling}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_a_vision_model_sees_gray_images_in_color_and_scaled(vit):
    """An image of one gray value is that value everywhere at any size: its pixel values are known by hand."""
    model, processor = load_vision_model(vit, "key")
    images = torch.tensor([51, 204], dtype=torch.uint8)[:, None, None, None].expand(2, 1, 8, 8)
    pixels = torch.tensor([-0.6, 0.6])[:, None, None, None].expand(2, 3, 16, 16)
    with torch.no_grad():
        expected = model(pixel_values=pixels).pooler_output
    for batch_size in (1, 2):
        found = vision_features(model, processor, images, batch_size, torch.device("cpu"))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_digest_of_a_vision_model_is_of_its_weights_and_settings(vit, tmp_path):
    before = vision_digest(str(vit), "key")
    names = ("config.json", "preprocessor_config.json", "model.safetensors")
    assert before == digest(" ".join(sha256_file(vit / name) for name in names))  # which stands in specs
    for file in vit.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert vision_digest(str(tmp_path), "key") == before
    (tmp_path / "preprocessor_config.json").write_text("{}")
    assert vision_digest(str(tmp_path), "key") != before


@pytest.mark.parametrize("missing", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_refused_by_name(vit, tmp_path, missing):
    for file in vit.iterdir():
        if file.name != missing:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ArtifactError, match=missing if missing.endswith("json") else r"\*\.safetensors"):
        vision_digest(str(tmp_path), "attribution.embedding.model")


def test_what_is_neither_folder_nor_pinned_hub_id_is_refused():
    with pytest.raises(ConfigError, match=r"attribution\.embedding\.model: 'openai/clip' is neither a folder nor"):
        vision_digest("openai/clip", "attribution.embedding.model")


# --- folders of others -------------------------------------------------------------------------------


@pytest.fixture
def folder(vit, tmp_path):
    """A copy to spoil."""
    return Path(shutil.copytree(vit, tmp_path / "vit"))


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def rewrite(folder, change):
    """Change the tensors of a vision model by a function of their mapping."""
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})


def features_of(folder):
    model, processor = load_vision_model(folder, KEY)
    images = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return vision_features(model, processor, images, 3, torch.device("cpu"))


READ = f"""
import sys
from pathlib import Path
from guda.core.errors import ArtifactError
from guda.scoring.features import load_vision_model
from guda.models.imported import check_vision_model
for folder in sys.argv[1:]:
    for read in (check_vision_model, load_vision_model):
        try:
            read(Path(folder), "{KEY}")
        except ArtifactError as error:
            print(error)
"""


def test_code_of_a_models_own_is_never_run_whatever_is_answered(vit, tmp_path):
    """In a process of its own, where a yes waits to be read."""
    planted = tmp_path / "planted"
    code = f"import os\nos.mkdir({str(planted)!r})\nclass Own: pass\nclass OwnConfig: model_type = 'own'\n"
    classes = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.Own", "AutoImageProcessor": "own.Own"}
    files = []
    for kind in ("vit", "own"):
        for name in ("config.json", "preprocessor_config.json", "processor_config.json"):
            folder = Path(shutil.copytree(vit, tmp_path / kind / name))
            (folder / "own.py").write_text(code)
            (folder / "processor_config.json").write_text("{}")
            edit(folder / "config.json", model_type=kind)
            edit(folder / name, auto_map=classes)
            files.append(folder / name)
    done = subprocess.run(
        [sys.executable, "-c", READ, *(file.parent for file in files)],
        input="y\n" * 100,
        env=os.environ | {"PYTHONPATH": str(SCRIPTS), "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    said = [f"{KEY}: {file} has auto_map, which names Python code; a model's own code is never run" for file in files]
    lines = [line.split(". Give a model")[0] for line in done.stdout.splitlines()]
    assert lines == [line for line in said for _ in range(2)], done.stdout + done.stderr
    assert not planted.exists()
    assert not (tmp_path / "home" / "modules").exists()


def test_every_call_that_could_run_code_of_others_says_no():
    calls = [
        node
        for path in SCRIPTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_pretrained"
    ]
    assert len(calls) == 5
    for call in calls:
        nothing_to_read = isinstance(call.args[0], ast.Constant) and call.args[0].value is None
        assert nothing_to_read or [ast.unparse(each.value) for each in call.keywords] == ["APART"], ast.unparse(call)
    assert APART == {"local_files_only": True, "trust_remote_code": False}


def test_an_architecture_that_transformers_does_not_have_is_refused(folder):
    edit(folder / "config.json", model_type="own")
    with pytest.raises(
        ArtifactError, match=f"^{KEY}: {folder} cannot be read as a vision model of transformers"
    ) as caught:
        load_vision_model(folder, KEY)
    assert "\n" not in str(caught.value)


def test_pickles_and_other_models_that_a_folder_names_are_left_alone(folder, vit):
    planted = folder.parent / "planted"
    (folder / "pytorch_model.bin").write_bytes(b"cos\nmkdir\n(S'" + os.fsencode(planted) + b"'\ntR.")
    edit(folder / "config.json", _name_or_path="someone/other")
    assert torch.equal(features_of(folder), features_of(vit))
    (folder / "model.safetensors").unlink()
    for read in (check_vision_model, load_vision_model):
        with pytest.raises(ArtifactError, match=f"^{KEY}: {folder} has no"):
            read(folder, KEY)
    assert not planted.exists()


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("adapter_config.json", {"base_model_name_or_path": "someone/other"}, "has adapter_config.json: adapters of"),
        ("config.json", {"quantization_config": {"load_in_8bit": True}}, "config.json has quantization_config; give"),
    ],
)
def test_adapters_and_quantized_models_are_refused_when_planning(folder, name, changes, message):
    file = folder / name
    file.write_text(file.read_text() if file.exists() else "{}")
    edit(file, **changes)
    with pytest.raises(ArtifactError, match=f"^{KEY}: {folder}.*{message}"):
        of_vision(folder)


def of_vision(folder):
    overlay = {"methods": ["embedding"], "attribution": {"embedding": {"model": str(folder)}}}
    return Experiment(load_config(overlay))


@pytest.mark.parametrize("arguments", [{"variant": "fp16"}, {"max_shard_size": "2KB"}], ids=str)
def test_variants_and_shards_of_a_vision_model_are_read(folder, vit, arguments):
    from transformers import ViTModel

    ViTModel.from_pretrained(folder).save_pretrained(folder, **arguments)
    (folder / "model.safetensors").unlink(missing_ok=True)
    torch.testing.assert_close(features_of(folder), features_of(vit))
    told = f"{KEY}: {folder} has weights only as the variant fp16; it is used, in float32."
    assert of_vision(folder).notes() == ([told] if "variant" in arguments else [])


def test_half_precision_is_computed_with_in_float32(folder):
    rewrite(folder, lambda tensors: {name: tensor.half() for name, tensor in tensors.items()})
    model, _ = load_vision_model(folder, KEY)
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("change", "planned", "message"),
    [
        (lambda tensor: torch.full_like(tensor, torch.nan), False, "holds values that are not finite"),
        (lambda tensor: tensor.double() + 1e39, False, "holds values beyond the range of float32"),
        (lambda tensor: torch.zeros_like(tensor, dtype=torch.int64), False, "holds whole numbers in place of weights"),
        (lambda tensor: torch.zeros_like(tensor, dtype=torch.int8), True, "is of type I8"),
    ],
    ids=["nan", "huge", "int64", "int8"],
)
def test_types_and_values_of_a_vision_model_are_looked_at(folder, change, planned, message):
    name = "layernorm.bias"
    rewrite(folder, lambda tensors: tensors | {name: change(tensors[name])})
    with pytest.raises(ArtifactError, match=f"^{KEY}: {folder}/model.safetensors: tensor '{name}' {message}"):
        (of_vision if planned else features_of)(folder)


def without(part):
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if not name.startswith(part)}


def test_a_model_without_a_pooled_output_gives_means_over_the_patches(folder, capsys):
    """As of checkpoints for classification: the layer would have random weights."""
    with torch.no_grad():
        model, _ = load_vision_model(folder, KEY)
        model.pooler = None
        expected = model(pixel_values=torch.full((1, 3, 16, 16), -0.6)).last_hidden_state.mean(1)
        rewrite(folder, without("pooler."))
        model, processor = load_vision_model(folder, KEY)
        gray = torch.full((1, 3, 16, 16), 51, dtype=torch.uint8)
        found = vision_features(model, processor, gray, 1, torch.device("cpu"))
    assert "features are means over the patches" in capsys.readouterr().out
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_model_that_lacks_other_weights_is_refused(folder):
    rewrite(folder, without("layernorm.bias"))
    with pytest.raises(ArtifactError, match=f"^{KEY}: the weights in {folder} lack tensor 'layernorm.bias'"):
        load_vision_model(folder, KEY)


def bert():
    from transformers import BertConfig, BertModel

    return BertModel(
        BertConfig(vocab_size=9, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    )


def masked():
    """Its features are of patches that are drawn at random."""
    from transformers import ViTMAEConfig, ViTMAEModel

    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return ViTMAEModel(ViTMAEConfig(**shape, image_size=16, patch_size=8))


@pytest.mark.parametrize(
    ("make", "message"),
    [(bert, "cannot be read as a vision model of transformers"), (masked, "holds a ViTMAEModel, which has no pooled")],
)
def test_models_that_give_no_features_of_an_image_are_refused(folder, make, message):
    make().save_pretrained(folder)
    with pytest.raises(ArtifactError, match=f"^{KEY}: {folder} {message}"):
        load_vision_model(folder, KEY)


def test_a_preprocessor_of_another_model_is_refused(folder):
    edit(folder / "preprocessor_config.json", size={"height": 24, "width": 24})
    with pytest.raises(
        ArtifactError, match=f"^{KEY}: {folder} cannot be read as a vision model of transformers"
    ) as caught:
        load_vision_model(folder, KEY)
    assert "\n" not in str(caught.value)

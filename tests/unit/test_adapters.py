"""Low-rank adapters: nothing at the start, all that moves, and a small file that diffusers opens."""

import json
import shutil

import pytest
import torch
from golden_inputs import run_stage
from safetensors.torch import load_file, save_file
from test_anchors import FORGET, SHORT, Cut, book
from text_inputs import IDS, LATENTS, PROCESS, captions, prompts, text_denoiser, weights_of

import compute_elbo
import unlearn as unlearn_stage
from guda import specs
from guda.core.artifacts import load_tensors, pack_ids, save_tensors, sha256_file
from guda.core.errors import ArtifactError
from guda.core.paths import ADAPTER, RECORD, WEIGHTS
from guda.core.records import write_record
from guda.data.captions import TENSORS as CAPTIONS
from guda.data.groups import write_members
from guda.models.cache import ModelCache
from guda.models.denoisers import add_adapters, load_denoiser, save_adapters, save_denoiser
from guda.models.denoisers.adapters import SETTINGS
from guda.models.noise_schedule import NoiseSchedule
from guda.training.state import Execution, TrainingState
from guda.unlearning.anchors.compute import TENSORS, DrawnAnchors, unlearn
from guda.unlearning.anchors.plan import AnchorsSpec

SPEC = specs.ImagesSpec(dataset="d", content="c")  # any will do
SCHEDULE = NoiseSchedule.from_config(PROCESS)
LORA = SHORT.model_copy(update={"trainable": "lora", "lora_rank": 2, "lora_alpha": 6, "learning_rate": 1e-2})
LAYERS = ("to_q", "to_k", "to_v", "to_out.0")


@torch.no_grad()
def predicted(unet):
    return unet(LATENTS, torch.linspace(50, 950, 8).long(), encoder_hidden_states=prompts(8)).sample


def unlearned(**options):
    return unlearn(text_denoiser(), LATENTS, FORGET, captions(LORA.seed), book(), LORA, **options)[0]


@pytest.fixture
def saved(tmp_path):
    """The folders of a base model and of adapters of it, and the student whose they are."""
    save_denoiser(tmp_path / "base", text_denoiser(), SPEC)
    student = unlearned()
    save_adapters(tmp_path / "model", student, SPEC, parent_sha256=sha256_file(tmp_path / "base" / WEIGHTS))
    return tmp_path / "base", tmp_path / "model", student


def loaded(saved):
    base, folder, _ = saved
    return load_denoiser(folder, SCHEDULE, SPEC.digest(), base)


def test_new_adapters_change_nothing():
    denoiser = text_denoiser()
    before = predicted(denoiser.unet)
    add_adapters(denoiser, 3, 5, seed=0)
    assert torch.equal(predicted(denoiser.unet), before)


def test_adapters_are_on_the_attention_layers_and_alone_move():
    full, weights = text_denoiser().unet.state_dict(), unlearned().unet.state_dict()
    kept = {name.replace(".base_layer", ""): weight for name, weight in weights.items() if ".lora_" not in name}
    assert kept.keys() == full.keys()
    assert all(torch.equal(kept[name], weight) for name, weight in full.items())
    adapted = {name.split(".lora_")[0] for name in weights if ".lora_" in name}
    layers = {name.removesuffix(".weight") for name in full}
    assert adapted == {name for name in layers if ".attn" in name and name.endswith(LAYERS)}
    assert all(weight.any() for name, weight in weights.items() if ".lora_B." in name)


def test_they_repeat_bit_for_bit_and_begin_by_the_seed_alone():
    assert torch.equal(weights_of(unlearned()), weights_of(unlearned()))
    first = []
    for seed in (4, 4, 5):
        denoiser = text_denoiser()
        torch.rand(3)
        add_adapters(denoiser, 2, 6, seed)
        first.append(weights_of(denoiser))
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def test_cut_off_and_continued_gives_the_same_adapters(tmp_path, monkeypatch):
    straight, state = weights_of(unlearned()), TrainingState(tmp_path, SPEC, 1)
    choose = DrawnAnchors.choose

    def cut_off(self, rows, pooled, step):
        if step == 2:
            raise Cut
        return choose(self, rows, pooled, step)

    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(DrawnAnchors, "choose", cut_off)
        unlearned(execution=Execution(state))
    assert state.load()[0] == 2
    assert torch.equal(weights_of(unlearned(execution=Execution(TrainingState(tmp_path, SPEC, 1)))), straight)


def test_the_file_holds_the_adapters_alone_and_repeats_bit_for_bit(saved, tmp_path):
    base, folder, student = saved
    assert [file.name for file in folder.iterdir()] == [ADAPTER]
    tensors = load_file(folder / ADAPTER)
    numbers = sum(weight.numel() for name, weight in student.unet.named_parameters() if ".lora_" in name)
    assert sum(tensor.numel() for tensor in tensors.values()) == numbers
    # What is not their numbers is the header: about two hundred bytes a tensor.
    assert (folder / ADAPTER).stat().st_size < 4 * numbers + 250 * len(tensors)
    save_adapters(tmp_path / "again", unlearned(), SPEC, parent_sha256=sha256_file(base / WEIGHTS))
    assert sha256_file(tmp_path / "again" / ADAPTER) == sha256_file(folder / ADAPTER)


def test_merged_weights_by_hand(saved):
    """W + (alpha / r) B A with alpha 6 and r 2, and no other weight moved."""
    base, folder, _ = saved
    denoiser, metadata = loaded(saved)
    before, tensors, merged = load_file(base / WEIGHTS), load_file(folder / ADAPTER), denoiser.unet.state_dict()
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    a, b = (tensors[f"unet.{layer}.lora_{part}.weight"] for part in "AB")
    torch.testing.assert_close(merged[f"{layer}.weight"], before[f"{layer}.weight"] + 3 * b @ a)
    moved = {name for name in before if not torch.equal(merged[name], before[name])}
    assert moved == {name.removeprefix("unet.").replace(".lora_A", "") for name in tensors if ".lora_A." in name}
    assert metadata["parent_sha256"] == sha256_file(base / WEIGHTS)
    assert not denoiser.training


def test_what_is_read_predicts_what_was_trained(saved):
    expected = predicted(saved[2].unet)
    assert (expected - predicted(text_denoiser().unet)).abs().max() > 1e-3
    torch.testing.assert_close(predicted(loaded(saved)[0].unet), expected, rtol=1e-4, atol=1e-5)


def test_diffusers_opens_it(saved):
    unet = text_denoiser().unet
    unet.load_lora_adapter(saved[1], weight_name=ADAPTER, prefix="unet", use_safetensors=True)
    assert torch.equal(predicted(unet), predicted(saved[2].unet))


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 5, 3000])
def test_a_truncated_file_is_refused(saved, length):
    file = saved[1] / ADAPTER
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ArtifactError, match=f"^{file}: not a readable safetensors file"):
        loaded(saved)


def test_an_altered_file_is_refused(saved):
    file = saved[1] / ADAPTER
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match=f"^{file}: its content does not match its checksum"):
        loaded(saved)


def test_a_file_from_elsewhere_is_refused(saved):
    """As diffusers' own scripts write one."""
    file = saved[1] / ADAPTER
    settings = {"format": "pt", SETTINGS: json.dumps({"unet.r": 2, "unet.lora_alpha": 6})}
    save_file(load_file(file), file, metadata=settings)
    with pytest.raises(ArtifactError, match=f"^{file}: its content does not match its checksum"):
        loaded(saved)


def test_adapters_of_another_base_model_are_refused(saved):
    save_denoiser(saved[0], text_denoiser(seed=1), SPEC)
    with pytest.raises(ArtifactError, match=f"^{saved[1] / ADAPTER}: adapters of another base model than"):
        loaded(saved)


def remade(folder, base, change=lambda tensors: tensors, spec=SPEC, **settings):
    """The adapters in a folder, with other tensors or settings, and with checksums that fit."""
    tensors, metadata = load_tensors(folder / ADAPTER)
    said = {"unet.r": 2, "unet.lora_alpha": 6} | {f"unet.{name}": value for name, value in settings.items()}
    metadata = {SETTINGS: json.dumps(said), "parent_sha256": sha256_file(base / WEIGHTS)}
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    save_tensors(folder / ADAPTER, change(tensors), spec, **metadata)


LAYER = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
OTHERS = [
    (lambda tensors: dict(list(tensors.items())[1:]), {}, "lacks tensor"),
    (lambda tensors: tensors | {"unet.conv_in.lora_A.weight": torch.zeros(2, 4)}, {}, "has an unknown tensor"),
    (
        lambda tensors: tensors | {f"{LAYER}.lora_A.weight": torch.zeros(2, 3)},
        {},
        rf"tensor '{LAYER}.lora_A.weight' is",
    ),
    (dict, {"r": 3}, r"is float32 \[2, .*expected float32 \[3, "),
    (dict, {"r": 0}, "rank 0 and alpha 6.0 are not valid for adapters"),
    (dict, {"r": None}, "lacks the adapters' rank and alpha"),
    (dict, {"lora_alpha": float("inf")}, "rank 2 and alpha inf are not"),
    (dict, {"lora_alpha": "much"}, "lacks the adapters' rank and alpha"),
]


@pytest.mark.parametrize(("change", "settings", "named"), OTHERS)
def test_adapters_of_another_network_are_refused(saved, change, settings, named):
    base, folder, _ = saved
    remade(folder, base, change, **settings)
    with pytest.raises(ArtifactError, match=f"^{folder / ADAPTER}: .*{named}"):
        loaded(saved)


# --- the stages --------------------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path):
    """The spec of an unlearning, and the flags of its stage."""
    of_group = specs.GroupSpec(dataset="d", group="a", members=specs.digest_lines(IDS[:3]))
    files = {name: tmp_path / name for name in ("base", "samples", "files", "group")}
    save_denoiser(files["base"], text_denoiser(), SPEC)
    told = {name: getattr(captions(), name) for name in CAPTIONS}
    save_tensors(files["samples"], {"latents": LATENTS, "ids": pack_ids(IDS), **told}, SPEC)
    save_tensors(files["files"], {name: getattr(book(), name) for name in TENSORS}, SPEC)
    write_members(files["group"], of_group, IDS[:3])
    spec = AnchorsSpec(
        base=SPEC.digest(),
        samples=SPEC.digest(),
        anchors=SPEC.digest(),
        group=of_group.digest(),
        noise_schedule=PROCESS,
        settings=LORA,
    )
    return spec, files


def test_the_stage_leaves_adapters_that_the_cache_keeps_and_scores_are_of(job, tmp_path):
    spec, files = job
    execution = {"gradient_checkpointing": True, "micro_batch_size": 3, "cache": str(tmp_path / "cache")}
    save_denoiser(tmp_path / "copy", text_denoiser(), SPEC)  # as unlearned before, all weights
    for name in ("model", "copy"):
        run_stage(unlearn_stage, spec=spec.canonical(), **files, execution=json.dumps(execution), model=tmp_path / name)
        assert sorted(file.name for file in (tmp_path / name).iterdir()) == [ADAPTER, RECORD]
    assert (tmp_path / "copy" / RECORD).read_bytes() == (tmp_path / "model" / RECORD).read_bytes()
    denoiser, _ = load_denoiser(tmp_path / "copy", SCHEDULE, spec.digest(), files["base"])
    torch.testing.assert_close(predicted(denoiser.unet), predicted(unlearned().unet), rtol=1e-3, atol=1e-4)

    (cached,) = (tmp_path / "cache" / "models").iterdir()
    for change, settings, named in [
        *OTHERS,
        (dict, {"lora_alpha": 5}, r"have rank and alpha \(2, 5.0\), not those of the config"),
    ]:
        shutil.copytree(tmp_path / "model", cached, dirs_exist_ok=True)
        remade(cached, files["base"], change, spec, **settings)
        write_record(cached / RECORD, spec, [cached / ADAPTER], seconds=1)
        with pytest.raises(ArtifactError, match=f"the cached model {cached} is damaged .*{named}"):
            ModelCache(execution["cache"], (ADAPTER,)).fetch(
                tmp_path / "none", spec, sha256_file(files["base"] / WEIGHTS), base=files["base"]
            )

    of_elbo = specs.ElboSpec(
        model=spec.digest(),
        samples=SPEC.digest(),
        elbo=specs.ElboSettings(noise_schedule=PROCESS, seed=0, steps=[300], first=1, last=999),
    )
    places = {"model": tmp_path / "model", "base": files["base"] / WEIGHTS, "samples": files["samples"]}
    outputs = {"output": tmp_path / "elbo.safetensors", "record": tmp_path / "elbo.record.json"}
    run_stage(compute_elbo, spec=of_elbo.canonical(), **places, **outputs)
    _, metadata = load_tensors(outputs["output"], of_elbo.digest())
    assert metadata["model_sha256"] == sha256_file(tmp_path / "model" / ADAPTER)
    assert metadata["parent_sha256"] == sha256_file(files["base"] / WEIGHTS)

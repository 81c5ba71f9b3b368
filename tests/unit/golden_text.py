"""What the stages of text-to-image models give on fixed inputs."""

import json

import golden_inputs
import numpy as np
import pandas as pd
import pipelines
import torch
from golden_inputs import IDS, OPTIMIZATION, execution, fixed, run_stage, save_images

import encode_anchors
import encode_samples
import generate
import import_model
from guda import config, specs
from guda.config.pipeline import AutoencoderTraining, Pretraining, SmallPipeline, TextTraining
from guda.config.prompts import Prompts
from guda.config.text_to_image import QueryPrompts
from guda.core.artifacts import load_tensors, pack_ids, save_tensors, write_csv
from guda.core.paths import BASE, WEIGHTS, Paths, record_of
from guda.core.records import write_record
from guda.data.captions import TENSORS, Captions
from guda.data.prompts import prompt_book
from guda.data.query_prompts import query_prompts
from guda.data.training_set import TrainingSet
from guda.methods import get_method
from guda.methods.prompt.plan import PromptOverlapSpec
from guda.models.denoisers import TextDenoiser, load_denoiser, save_denoiser
from guda.models.imported import source_digest
from guda.models.noise_schedule import NoiseSchedule
from guda.models.stable_diffusion.pipeline import save_pipeline
from guda.training.loop import fine_tune
from guda.training.small_pipeline import make_small_pipeline
from guda.unlearning.anchors import compute as anchors
from guda.unlearning.anchors.plan import Anchors, AnchorsSpec
from guda.unlearning.esd.plan import Esd
from guda.unlearning.operator import Job
from guda.unlearning.prompted_esd import compute as prompted_esd
from guda.unlearning.prompted_esd.plan import PromptedEsdSpec

STYLES = ["ink", "neon", "ink", "neon", None, "ink"]
OBJECTS = ["cat", "cat", "dog", "dog", "cat", "cat"]
TABLE = pd.DataFrame({"id": IDS[:6], "style": STYLES, "object": OBJECTS})
DESCRIPTORS = {"ink": ["ink", "lines", "a digit"], "neon": ["glowing", "neon lines"]}
IMAGES = (np.arange(6 * 3 * 256) ** 2 * 37 % 251).astype(np.uint8).reshape(6, 3, 16, 16)
PROCESS = config.NoiseSchedule(
    num_train_timesteps=1000,
    beta_schedule="scaled_linear",
    beta_start=0.00085,
    beta_end=0.012,
    prediction_type="epsilon",
)
TOKENS, WIDTH = 8, 16  # of the fixed pipeline's prompts


def wave(*shape, phase=0.0):
    """Numbers between -1 and 1 by a formula."""
    return torch.cos(1.7 * torch.arange(int(np.prod(shape)), dtype=torch.float64) + phase).float().reshape(shape)


def few(tensor):
    """Numbers that any change of a tensor moves."""
    values = tensor.flatten().double()
    return [values.abs().mean().item(), *values[[0, len(values) // 3, -1]].tolist()]


def fixed_pipeline(folder):
    pipeline, unet = pipelines.new_pipeline()
    for network in (pipeline.vae, pipeline.text_encoder, unet):
        fixed(network)
    save_pipeline(folder, pipeline, unet, pipelines.AnySpec())
    return {"pipeline": folder}, TextDenoiser(unet, NoiseSchedule.from_config(PROCESS)).to(golden_inputs.DEVICE)


def save_prompts(path, table):
    spec = specs.PromptsSpec(content=specs.digest(table.to_csv(index=False)))
    write_csv(path, table)
    write_record(record_of(path), spec, [path], seconds=0)
    return spec.digest()


def book(tmp_path):
    (tmp_path / "descriptors.json").write_text(pd.Series(DESCRIPTORS).to_json())
    settings = Prompts(
        template="a {object} with {descriptors}",
        content_template="a {object}",
        descriptors=str(tmp_path / "descriptors.json"),
        per_prompt=2,
        prompts_per_image=2,
        anchors_per_pair=1,
        style="style",
        content="object",
        seed=3,
    )
    return prompt_book(settings, TABLE)


def captions():
    counts = torch.tensor([0, 2, 1, 1, 2, 1, 1])
    return Captions(
        embeddings=wave(5, TOKENS, WIDTH),
        pooled=wave(5, WIDTH, phase=1),
        prompts=torch.tensor([0, 1, 2, 3, 4, 0, 1, 2]),
        starts=counts.cumsum(0),
        empty=wave(TOKENS, WIDTH, phase=2),
        ids=IDS[:6],
        seed=3,
    )


@torch.no_grad()
def summary(denoiser):
    sizes = torch.cat([parameter.flatten() for parameter in denoiser.to("cpu").parameters()]).abs()
    noise = denoiser.predict_noise(wave(1, 4, 8, 8), torch.tensor([40]), wave(1, TOKENS, WIDTH))
    return [sizes.double().mean().item(), *few(noise)]


def made(tmp_path):
    training = {key: value for key, value in OPTIMIZATION.items() if key != "seed"} | {"steps": 3}
    settings = SmallPipeline(
        seed=3,
        styles=["ink"],
        vae_channels=[4, 4],
        latent_channels=4,
        prompt_length=8,
        embedding_dim=8,
        text_layers=1,
        unet_channels=[4, 8],
        layers_per_block=1,
        attention_heads=2,
        norm_num_groups=2,
        autoencoder=AutoencoderTraining(**training, kl_weight=0.01),
        text_encoder=TextTraining(**training),
        pretraining=Pretraining(**training, seed=3, ema_decay=0.5, flip=False, prompt_dropout=0.2),
    )
    texts = [["an ink cat"], ["a neon dog", "a neon cat"]] * 3
    pipeline, unet, evaluations = make_small_pipeline(
        torch.from_numpy(IMAGES), IDS[:6], texts, torch.tensor([0, 2, 5]), settings, PROCESS, (execution(), execution())
    )
    numbers = [evaluations, len(pipeline.tokenizer), pipeline.vae.config.scaling_factor]
    for network in (pipeline.vae, pipeline.text_encoder, unet):
        numbers += few(torch.cat([parameter.detach().cpu().flatten() for parameter in network.parameters()]))
    return numbers


def prompts(tmp_path):
    asked = query_prompts(QueryPrompts(mixed=0.5), book(tmp_path), ["ink", "neon"], 4, 7)
    texts = [text for each in book(tmp_path).of_images() for text in each]
    return [*texts, *book(tmp_path).anchors()["prompt"], *asked["prompt"]]


def encoded(tmp_path):
    folder, _ = fixed_pipeline(tmp_path / "pipeline")
    images = specs.ImagesSpec(dataset="d", content="c")
    save_images(tmp_path / "images", images, IMAGES[:2], IDS[:2])
    table = pd.DataFrame({"id": ["i00", "i00", "i01"], "prompt": ["ink", "a digit", "ink"]})
    spec = specs.EncodedSpec(
        pipeline=pipelines.AnySpec().digest(),
        images=images.digest(),
        prompts=save_prompts(tmp_path / "prompts.csv", table),
        seed=5,
        prompted=True,
    )
    files = {"images": tmp_path / "images", "prompts": tmp_path / "prompts.csv", "output": tmp_path / "encoded"}
    run_stage(encode_samples, spec=spec.canonical(), **folder, **files, record=tmp_path / "record.json")
    tensors, _ = load_tensors(tmp_path / "encoded", spec.digest())
    numbers = [value for name in ("latents", "embeddings", "pooled", "empty") for value in few(tensors[name])]
    return [*tensors["prompts"].tolist(), *tensors["starts"].tolist(), *numbers]


def encoded_anchors(tmp_path):
    folder, _ = fixed_pipeline(tmp_path / "pipeline")
    anchor_prompts = [("cat", "ink", "a digit with ink"), ("cat", None, "a digit")]
    rows = [*anchor_prompts, (None, "neon", "glowing"), (None, "ink", "ink")]
    spec = specs.EncodedAnchorsSpec(
        pipeline=pipelines.AnySpec().digest(),
        prompts=save_prompts(tmp_path / "anchors.csv", pd.DataFrame(rows, columns=["content", "style", "prompt"])),
        of_images=save_prompts(tmp_path / "images.csv", TABLE.assign(prompt="")),
    )
    files = {"prompts": tmp_path / "anchors.csv", "of-images": tmp_path / "images.csv", "output": tmp_path / "encoded"}
    columns = {"content": "object", "style": "style", "record": tmp_path / "record.json"}
    run_stage(encode_anchors, spec=spec.canonical(), **folder, **files, **columns)
    tensors, _ = load_tensors(tmp_path / "encoded", spec.digest())
    numbers = [*few(tensors["embeddings"]), *few(tensors["prototypes"])]
    names = ("styles", "contents", "image_styles", "image_contents")
    return [*(value for name in names for value in tensors[name].tolist()), *numbers]


def fine_tuned(tmp_path):
    settings = config.Training(**OPTIMIZATION, ema_decay=0.5, flip=False)
    _, denoiser = fixed_pipeline(tmp_path)
    told = Captions(**vars(captions()) | {"dropout": 0.3})
    denoiser, evaluations = fine_tune(denoiser, wave(6, 4, 8, 8), told, settings, execution())
    return [evaluations, *told.choose(torch.arange(6), 1).tolist(), *summary(denoiser)]


def imported(tmp_path):
    """A network that was fine-tuned elsewhere from the pipeline's gives the very weights that are in its folder."""
    folder, denoiser = fixed_pipeline(tmp_path / "pipeline")
    denoiser.unet.save_pretrained(tmp_path / "foreign")
    spec = specs.ImportedUNetSpec(
        content=source_digest(str(tmp_path / "foreign"), "key"),
        pipeline=pipelines.AnySpec().digest(),
        shape=[3, 16, 16],
        noise_schedule=PROCESS,
    )
    samples = specs.ImagesSpec(dataset="d", content="c")
    told = captions()
    tensors = {name: getattr(told, name) for name in TENSORS} | {"latents": wave(6, 4, 8, 8), "ids": pack_ids(IDS[:6])}
    save_tensors(tmp_path / "encoded", tensors, samples)
    flags = {"name": BASE, "imports": json.dumps({BASE: [str(tmp_path / "foreign"), "key"]})}
    files = {"samples": tmp_path / "encoded", "model": tmp_path / "model"}
    run_stage(import_model, spec=spec.canonical(), **flags, **files, **folder)
    found, _ = load_denoiser(tmp_path / "model", NoiseSchedule.from_config(PROCESS), spec.digest())
    assert summary(found) == summary(denoiser)
    return summary(found)


def redirected(tmp_path):
    _, denoiser = fixed_pipeline(tmp_path)
    known = anchors.AnchorBook(
        embeddings=wave(6, TOKENS, WIDTH, phase=3),
        styles=torch.tensor([0, 1, 1, 2, 2, -1]),
        contents=torch.tensor([0, 0, 0, 0, 0, 0]),
        prototypes=wave(3, WIDTH, phase=4),
        image_styles=torch.tensor([0, 0, 1, 1, 2, 2]),
        image_contents=torch.zeros(6, dtype=torch.int64),
    )
    settings = Anchors(
        **OPTIMIZATION,
        retain_weight=2.0,
        strategy="weighted",
        sharpness=2.0,
        uniform_share=0.3,
        preserve="distillation",
        trainable="cross_attention",
    )
    forget = torch.arange(6) < 2
    student, evaluations = anchors.unlearn(denoiser, wave(6, 4, 8, 8), forget, captions(), known, settings, execution())
    return [evaluations, *summary(student)]


def erased(tmp_path):
    _, denoiser = fixed_pipeline(tmp_path)
    settings = Esd(**OPTIMIZATION, forget_weight=0.5, guidance=2.0, preserve="distillation")
    spec = PromptedEsdSpec(
        base="b",
        samples="s",
        group="g",
        noise_schedule=PROCESS,
        settings=settings,
        trainable="full",
        lora_rank=None,
        lora_alpha=None,
    )
    samples = TrainingSet(wave(6, 4, 8, 8), IDS[:6], captions())
    student, evaluations = prompted_esd.run(Job(spec, denoiser, samples, torch.arange(6) < 2, [], execution()))
    return [evaluations, *summary(student)]


def prompted_queries(tmp_path):
    folder, base = fixed_pipeline(tmp_path / "pipeline")
    any_spec = pipelines.AnySpec()
    save_denoiser(tmp_path / "base", base, any_spec)
    table = pd.DataFrame({"id": ["q0", "q1"], "prompt": ["a digit with ink", "glowing"]})
    spec = specs.PromptedQueriesSpec(
        base=any_spec.digest(),
        pipeline=any_spec.digest(),
        prompts=save_prompts(tmp_path / "prompts.csv", table),
        noise_schedule=PROCESS,
        seed=7,
        sampler="ddim",
        sampling_steps=2,
        guidance_scale=3.0,
        ids=["q0", "q1"],
    )
    files = {
        "weights": tmp_path / "base" / WEIGHTS,
        "prompts": tmp_path / "prompts.csv",
        "output": tmp_path / "queries",
    }
    run_stage(generate, spec=spec.canonical(), **folder, **files)
    tensors, _ = load_tensors(tmp_path / "queries", spec.digest())
    images = tensors["images"].double()
    return [*images.mean((1, 2, 3)).tolist(), *images.std((1, 2, 3)).tolist()]


def overlap(tmp_path):
    paths, queries = Paths(tmp_path), specs.QueryTableSpec(buckets={}, known="k")
    frame = pd.DataFrame({"query": ["q0", "q1"], "prompt": ["glowing Lines, ink", "neon lines, linesman"]})
    write_csv(paths.query_table(), frame)
    write_record(record_of(paths.query_table()), queries, [paths.query_table()], seconds=0)
    spec = PromptOverlapSpec(descriptors=DESCRIPTORS, queries=queries.digest())
    return get_method("prompt").scores(spec, paths).score.ravel().tolist()


STAGES = {
    specs.PipelineSpec: made,
    specs.PromptsSpec: prompts,
    specs.EncodedSpec: encoded,
    specs.EncodedAnchorsSpec: encoded_anchors,
    specs.FineTuneSpec: fine_tuned,
    specs.ImportedUNetSpec: imported,
    AnchorsSpec: redirected,
    PromptedEsdSpec: erased,
    specs.PromptedQueriesSpec: prompted_queries,
    PromptOverlapSpec: overlap,
}
# Each stage's version with its numbers.
GOLDEN = {
    specs.PipelineSpec: (1, [108, 524, 4.1715, 0.102248, -0.051338, -0.134851, 0.283572, 0.0488036, -0.00760383,
        0.0268727, 0.000809978, 0.116367, -0.0807323, -0.00450746, -0.0837397]),
    specs.PromptsSpec: (1, ["a cat with ink, a digit", "a cat with a digit, lines", "a cat with neon lines, glowing",
        "a cat with neon lines, glowing", "a dog with ink, lines", "a dog with a digit, lines",
        "a dog with glowing, neon lines", "a dog with glowing, neon lines", "a cat", "a cat with ink, lines",
        "a cat with lines, a digit", "a cat with a digit, ink", "a cat with glowing, neon lines",
        "a dog with a digit, ink", "a dog with neon lines, glowing", "a cat", "a dog", "a cat with neon lines, a digit",
        "a dog with neon lines, glowing, ink", "a dog with neon lines, ink, lines", "a cat with neon lines, lines"]),
    specs.EncodedSpec: (1, [1, 2, 1, 0, 2, 3, 0.198409, 0.0636093, -0.134512, -0.0803118, 0.201134, 0.116378, 0.116378,
        -0.0208237, 0.206353, 0.0245353, -0.0726907, -0.0642196, 0.202369, 0.116378, 0.371674, -0.0214841]),
    specs.EncodedAnchorsSpec: (1, [0, -1, 0, 0, 0, 1, 0, 1, -1, 0, 0, 0, -1, -1, 0, 0, 0.197987, 0.116378, 0.240702,
        -0.0208237, 0.215197, -0.0740544, 0.376222, -0.0791826]),
    specs.FineTuneSpec: (1, [72, -1, 2, 3, 4, 1, 2, 0.116415, 0.138333, 0.189286, 0.280541, 0.0119584]),
    specs.ImportedUNetSpec: (1, [0.117631, 0.528664, 0.197032, 0.922595, 0.13779]),
    AnchorsSpec: (1, [192, 0.117554, 0.5287, 0.197139, 0.922407, 0.138465]),
    PromptedEsdSpec: (1, [216, 0.11634, 0.492468, 0.199416, 0.84571, 0.127159]),
    specs.PromptedQueriesSpec: (1, [179.228, 179.503, 41.9231, 43.1142]),
    PromptOverlapSpec: (1, [2.0, 1.0, 1.0, 1.0]),
}  # fmt: skip

"""Generate a bucket of query images from a model, each from its own seed, and from its own prompt where it has one."""

import sys

from guda.jobs.cli import device_of, run, spec_text, stage_parser
from guda.specs import PromptedQueriesSpec, QueriesSpec, parse_any

DECODED = 64  # latents at a time


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument("--base", required=True, help="folder of the model (train.py)")
    parser.add_argument("--pipeline", default="", help="what decodes latents: a diffusers folder, or OWNER/NAME@COMMIT")
    parser.add_argument("--prompts", nargs="?", help="the queries' prompts (write_prompts.py), if they have any")
    parser.add_argument("--output", required=True, help="safetensors file to write: images and ids")
    args = parser.parse_args()
    spec: QueriesSpec | PromptedQueriesSpec = parse_any([QueriesSpec, PromptedQueriesSpec], spec_text(args.spec))
    device = device_of(args)

    from guda.core.artifacts import pack_ids, save_tensors
    from guda.data.prompts import read_prompts
    from guda.models.denoisers import GuidedDenoiser, load_denoiser
    from guda.models.noise_schedule import NoiseSchedule
    from guda.models.sampling import generate, generate_latents, plain
    from guda.models.stable_diffusion.pipeline import decode_latents, encode_prompts, opened_pipeline

    base, _ = load_denoiser(args.base, NoiseSchedule.from_config(spec.noise_schedule), spec.base)
    base.to(device)
    process, steps = spec.noise_schedule, spec.sampling_steps
    if isinstance(spec, QueriesSpec):
        images = generate(base, process, spec.ids, spec.seed, steps, spec.sampler)
    else:
        pipeline = opened_pipeline(args.pipeline, spec.pipeline).to(device)
        prompts = read_prompts(args.prompts, spec.prompts)
        embeddings, _ = encode_prompts(pipeline, ["", *(prompts[query][0] for query in spec.ids)], DECODED)
        guided = GuidedDenoiser(base, embeddings[1:], embeddings[0], spec.guidance_scale)
        latents = generate_latents(guided, process, spec.ids, spec.seed, steps, spec.sampler)
        images = decode_latents(pipeline.vae, latents, DECODED)
    if count := plain(images).sum().item():
        print(
            f"warning: {count} of {len(images)} images are of one colour: look at the model's health", file=sys.stderr
        )
    save_tensors(args.output, {"images": images, "ids": pack_ids(spec.ids)}, spec)


if __name__ == "__main__":
    run(main)

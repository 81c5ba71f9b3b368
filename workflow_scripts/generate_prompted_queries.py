"""Generate a bucket of query images from the base model, each from its own prompt and its own seed."""

import sys

from guda.jobs.cli import add_device_arguments, add_pipeline_argument, device_of, run, spec_text, stage_parser
from guda.specs import PromptedQueriesSpec


def main() -> None:
    parser = stage_parser(__doc__, threads=True)
    add_pipeline_argument(parser)
    parser.add_argument("--base", required=True, help="folder of the base model (fine_tune.py)")
    parser.add_argument("--prompts", required=True, help="the queries' prompts (write_prompts.py)")
    parser.add_argument("--batch-size", type=int, default=64, help="images decoded at a time (default: %(default)s)")
    parser.add_argument("--output", required=True, help="safetensors file to write: images and ids")
    add_device_arguments(parser)
    args = parser.parse_args()
    spec = PromptedQueriesSpec.parse(spec_text(args.spec))
    device = device_of(args)

    from guda.core.artifacts import pack_ids, save_tensors
    from guda.data.prompts import read_prompts
    from guda.models.denoisers import load_denoiser
    from guda.models.noise_schedule import NoiseSchedule
    from guda.models.sampling import generate_latents, plain
    from guda.models.stable_diffusion.pipeline import decode_latents, encode_prompts, opened_pipeline

    base, _ = load_denoiser(args.base, NoiseSchedule.from_config(spec.noise_schedule), spec.base)
    pipeline = opened_pipeline(args.pipeline, spec.pipeline).to(device)
    prompts = read_prompts(args.prompts, spec.prompts)
    texts = ["", *(prompts[query][0] for query in spec.ids)]
    embeddings, _ = encode_prompts(pipeline, texts, args.batch_size)
    latents = generate_latents(
        base.to(device),
        spec.noise_schedule,
        spec.ids,
        spec.seed,
        spec.sampling_steps,
        spec.sampler,
        embeddings[1:],
        embeddings[0],
        spec.guidance_scale,
    )
    images = decode_latents(pipeline.vae, latents, args.batch_size)
    if count := plain(images).sum().item():
        print(
            f"warning: {count} of {len(images)} images are of one colour: look at the model's health", file=sys.stderr
        )
    save_tensors(args.output, {"images": images, "ids": pack_ids(spec.ids)}, spec)


if __name__ == "__main__":
    run(main)

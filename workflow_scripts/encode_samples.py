"""Encode images and their prompts as inputs of a text-to-image model: latents and prompt embeddings."""

import sys
from typing import Literal

from guda.jobs.cli import add_pipeline_argument, device_of, run, spec_text, stage_parser
from guda.specs import EncodedSpec


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    add_pipeline_argument(parser)
    parser.add_argument("--images", required=True, help="images (write_images.py, sample_calibration.py, ...)")
    parser.add_argument("--prompts", required=True, help="their prompts (write_prompts.py)")
    parser.add_argument("--output", required=True, help="safetensors file to write")
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()
    spec = EncodedSpec.parse(spec_text(args.spec))
    device = device_of(args)

    from guda.core.artifacts import load_tensors, pack_ids, save_tensors, unpack_ids
    from guda.core.device import costs
    from guda.core.records import Stopwatch, write_record
    from guda.data.prompts import read_prompts
    from guda.models.stable_diffusion.encoder_health import complaints
    from guda.models.stable_diffusion.encoder_measures import encoders_health
    from guda.models.stable_diffusion.pipeline import encode_captions, encode_latents, opened_pipeline

    pipeline = opened_pipeline(args.pipeline, spec.pipeline).to(device)
    images, _ = load_tensors(args.images, spec.images)
    ids, prompts = unpack_ids(images["ids"]), read_prompts(args.prompts, spec.prompts)
    texts = [prompts[sample_id] if spec.prompted else [""] for sample_id in ids]
    stopwatch = Stopwatch()
    mode: Literal["mean", "sample"] = "mean" if spec.seed is None else "sample"
    latents = encode_latents(pipeline.vae, images["images"], ids, mode, spec.seed or 0, args.execution.batch_size)
    captions = encode_captions(pipeline, texts, args.execution.batch_size)
    elapsed = stopwatch.elapsed()
    health = encoders_health(pipeline.vae, images["images"], captions["pooled"])
    for complaint in complaints(health):
        print(f"warning: {complaint}", file=sys.stderr)
    save_tensors(args.output, {"latents": latents, "ids": pack_ids(ids), **captions}, spec)
    write_record(args.record, spec, [args.output], health=health, **costs(device, len(ids), elapsed))


if __name__ == "__main__":
    run(main)

"""Generate a bucket of query images from a model, each from its own seed, and from its own prompt where it has one."""

import sys

from guda.jobs.cli import device_of, run, spec_text, stage_parser
from guda.specs import PromptedQueriesSpec, QueriesSpec, parse_any


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
    from guda.jobs.drawing import draw, opened
    from guda.models.denoisers import load_denoiser
    from guda.models.noise_schedule import NoiseSchedule
    from guda.models.sampling import plain

    base, _ = load_denoiser(args.base, NoiseSchedule.from_config(spec.noise_schedule), spec.base)
    base.to(device)
    images = draw(base, spec, spec.ids, opened(spec, args.pipeline, device), args.prompts)
    if count := plain(images).sum().item():
        print(
            f"warning: {count} of {len(images)} images are of one colour: look at the model's health", file=sys.stderr
        )
    save_tensors(args.output, {"images": images, "ids": pack_ids(spec.ids)}, spec)


if __name__ == "__main__":
    run(main)

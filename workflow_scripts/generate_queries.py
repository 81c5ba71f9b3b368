"""Generate a bucket of query images from the base model, each from its own seed."""

import sys

from guda.jobs.cli import add_device_arguments, device_of, run, spec_text, stage_parser
from guda.specs import QueriesSpec


def main() -> None:
    parser = stage_parser(__doc__, threads=True)
    parser.add_argument("--base", required=True, help="folder of the base model (train.py)")
    parser.add_argument("--output", required=True, help="safetensors file to write: images and ids")
    add_device_arguments(parser)
    args = parser.parse_args()
    spec = QueriesSpec.parse(spec_text(args.spec))
    device = device_of(args)

    from guda.core.artifacts import pack_ids, save_tensors
    from guda.models.denoisers import load_denoiser
    from guda.models.noise_schedule import NoiseSchedule
    from guda.models.sampling import generate, plain

    base, _ = load_denoiser(args.base, NoiseSchedule.from_config(spec.noise_schedule), spec.base)
    base.to(device)
    images = generate(base, spec.noise_schedule, spec.ids, spec.seed, spec.sampling_steps, spec.sampler)
    if count := plain(images).sum().item():
        print(
            f"warning: {count} of {len(images)} images are of one colour: look at the model's health", file=sys.stderr
        )
    save_tensors(args.output, {"images": images, "ids": pack_ids(spec.ids)}, spec)


if __name__ == "__main__":
    run(main)

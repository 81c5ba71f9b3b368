"""Sample the training images on which the damage of unlearning is measured."""

from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import CalibrationSpec


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--images", required=True, help="training images (write_images.py)")
    parser.add_argument("--output", required=True, help="safetensors file to write: images and ids")
    args = parser.parse_args()
    spec = CalibrationSpec.parse(spec_text(args.spec))

    from guda.core.artifacts import pack_ids, save_tensors
    from guda.data.training_set import read_training_set

    sample = read_training_set(args.images, spec.images).sample(spec.count, spec.seed)
    save_tensors(args.output, {"images": sample.images, "ids": pack_ids(sample.ids)}, spec)


if __name__ == "__main__":
    run(main)

"""Choose the training images on which the damage done by unlearning is measured."""

from guda.cli import run, spec_text, stage_parser
from guda.specs import CalibrationSpec


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--images", required=True, help="training images (write_images.py)")
    parser.add_argument("--output", required=True, help="safetensors file to write: images and ids")
    args = parser.parse_args()
    spec = CalibrationSpec.parse(spec_text(args.spec))

    from guda.artifacts import pack_ids, save_tensors
    from guda.noise import derive_seed
    from guda.training_set import read_training_set

    training_set = read_training_set(args.images, spec.images)
    order = sorted(
        range(len(training_set.ids)), key=lambda row: derive_seed("calibration", spec.seed, training_set.ids[row])
    )
    rows = sorted(order[: spec.count])
    save_tensors(
        args.output,
        {"images": training_set.images[rows], "ids": pack_ids([training_set.ids[row] for row in rows])},
        spec,
    )


if __name__ == "__main__":
    run(main)

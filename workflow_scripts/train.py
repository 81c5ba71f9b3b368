"""Train a model from scratch: on all images (the base model), or without one group (a LOGO oracle model)."""

from guda.cli import run, set_threads, spec_text, stage_parser
from guda.errors import GudaError
from guda.specs import TrainSpec


def main() -> None:
    parser = stage_parser(__doc__, threads=True)
    parser.add_argument("--images", required=True, help="training images (write_images.py)")
    parser.add_argument("--exclude", help="members of the group to leave out (write_group.py); default: none")
    parser.add_argument("--model", required=True, help="diffusers folder to write")
    args = parser.parse_args()
    spec = TrainSpec.parse(spec_text(args.spec))
    if bool(args.exclude) != bool(spec.excluded):
        raise GudaError("--exclude must be given exactly when the spec names an excluded group")
    set_threads(args.threads)

    from guda.denoisers import save_denoiser
    from guda.noise_schedule import NoiseSchedule
    from guda.records import Stopwatch, write_record
    from guda.training import train
    from guda.training_set import read_training_set

    training_set = read_training_set(args.images, spec.images)
    images = training_set.images
    if args.exclude:
        images = images[~training_set.in_group(args.exclude, spec.excluded)]
    stopwatch = Stopwatch()
    denoiser, evaluations = train(images, spec.unet, NoiseSchedule.from_config(spec.noise_schedule), spec.training)
    seconds = stopwatch.seconds()
    written = save_denoiser(args.model, denoiser, spec)
    write_record(f"{args.model}/record.json", spec, written, seconds=seconds, evaluations=evaluations)


if __name__ == "__main__":
    run(main)

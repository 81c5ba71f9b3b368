"""Train a model from scratch: on all images (the base model), without one group (LOGO), or without any set of them."""

from guda.core.errors import GudaError
from guda.jobs.cli import add_device_arguments, add_training_arguments, device_of, run, spec_text, stage_parser
from guda.specs import TrainSpec


def main() -> None:
    parser = stage_parser(__doc__, threads=True)
    parser.add_argument("--images", required=True, help="training images (write_images.py)")
    parser.add_argument("--exclude", help="images to leave out (write_group.py, write_exclusion.py); default: none")
    parser.add_argument("--model", required=True, help="diffusers folder to write")
    add_training_arguments(parser)
    add_device_arguments(parser)
    args = parser.parse_args()
    spec = TrainSpec.parse(spec_text(args.spec))
    if bool(args.exclude) != bool(spec.excluded):
        raise GudaError("--exclude must be given exactly when the spec names what is excluded")

    from guda.models.cache import ModelCache

    cache = ModelCache(args.cache)
    if cache.fetch(args.model, spec, images=args.images):
        return
    device = device_of(args)

    import torch

    from guda.core.device import costs
    from guda.core.paths import RECORD
    from guda.core.records import write_record
    from guda.data.training_set import read_training_set
    from guda.models.denoisers import save_denoiser
    from guda.models.noise_schedule import NoiseSchedule
    from guda.scoring.probe import measured
    from guda.training.loop import train
    from guda.training.state import TrainingState

    training_set = read_training_set(args.images, spec.images)
    forgotten = training_set.in_group(args.exclude, spec.excluded) if args.exclude else None
    rows = None if forgotten is None else torch.nonzero(~forgotten).flatten()
    schedule = NoiseSchedule.from_config(spec.noise_schedule)
    state = TrainingState(args.model, spec, args.checkpoint_steps)
    task = training_set.images, spec.unet, schedule, spec.training, state, rows, device
    denoiser, evaluations = train(*task, micro_batch_size=args.micro_batch_size)
    seconds = state.seconds()
    health = measured(denoiser, spec, training_set, forgotten, micro_batch_size=args.micro_batch_size)
    written = save_denoiser(args.model, denoiser, spec)
    write_record(f"{args.model}/{RECORD}", spec, written, health=health, **costs(device, evaluations, seconds))
    state.remove()
    cache.store(args.model, spec)


if __name__ == "__main__":
    run(main)

"""Train a denoiser from scratch that is told an image's group, or that none is known."""

from guda.jobs.cli import add_device_arguments, add_training_arguments, device_of, run, spec_text, stage_parser
from guda.specs import ConditionalSpec


def main() -> None:
    parser = stage_parser(__doc__, threads=True)
    parser.add_argument("--results", required=True, help="results folder with the training images and the groups")
    parser.add_argument("--model", required=True, help="diffusers folder to write")
    add_training_arguments(parser)
    add_device_arguments(parser)
    args = parser.parse_args()
    spec = ConditionalSpec.parse(spec_text(args.spec))

    from guda.core.paths import Paths
    from guda.models.cache import ModelCache

    cache = ModelCache(args.cache)
    if cache.fetch(args.model, spec, images=Paths(args.results).images()):
        return
    device = device_of(args)

    from guda.core.device import costs
    from guda.core.paths import RECORD
    from guda.core.records import write_record
    from guda.data.labels import DrawnLabels, read_memberships
    from guda.data.training_set import read_training_set
    from guda.models.denoisers import save_denoiser
    from guda.models.noise_schedule import NoiseSchedule
    from guda.scoring.probe import measured
    from guda.training.loop import train
    from guda.training.state import TrainingState

    paths = Paths(args.results)
    training_set = read_training_set(paths.images(), spec.images)
    memberships = read_memberships(paths, training_set.ids, spec.members)
    labels = DrawnLabels(memberships, training_set.ids, spec.training.seed, spec.label_dropout)
    schedule = NoiseSchedule.from_config(spec.noise_schedule)
    state = TrainingState(args.model, spec, args.checkpoint_steps)
    task = training_set.images, spec.unet, schedule, spec.training, state, None, device, labels
    denoiser, evaluations = train(*task, args.micro_batch_size)
    seconds = state.seconds()
    health = measured(denoiser, spec, training_set, micro_batch_size=args.micro_batch_size)
    written = save_denoiser(args.model, denoiser, spec)
    write_record(f"{args.model}/{RECORD}", spec, written, health=health, **costs(device, evaluations, seconds))
    state.remove()
    cache.store(args.model, spec)


if __name__ == "__main__":
    run(main)

"""Train a classifier of noisy images: which group is this from?"""

from guda.jobs.cli import add_device_arguments, add_training_arguments, device_of, run, spec_text, stage_parser
from guda.specs import ClassifierSpec


def main() -> None:
    parser = stage_parser(__doc__, threads=True)
    parser.add_argument("--results", required=True, help="results folder with the training images and the groups")
    parser.add_argument("--model", required=True, help="folder to write: config.json and weights")
    add_training_arguments(parser)
    add_device_arguments(parser)
    args = parser.parse_args()
    spec = ClassifierSpec.parse(spec_text(args.spec))

    from guda.core.paths import Paths
    from guda.models.cache import ModelCache

    cache = ModelCache(args.cache)
    if cache.fetch(args.model, spec, images=Paths(args.results).images()):
        return
    device = device_of(args)

    from guda.core.device import costs
    from guda.core.paths import RECORD
    from guda.core.records import write_record
    from guda.data.labels import read_memberships
    from guda.data.training_set import read_training_set
    from guda.models.classifier import save_classifier
    from guda.models.noise_schedule import NoiseSchedule
    from guda.scoring.probe import measured_classifier
    from guda.training.classifier import train_classifier
    from guda.training.state import TrainingState

    paths = Paths(args.results)
    training_set = read_training_set(paths.images(), spec.images)
    memberships = read_memberships(paths, training_set.ids, spec.members)
    schedule = NoiseSchedule.from_config(spec.noise_schedule)
    state = TrainingState(args.model, spec, args.checkpoint_steps)
    task = training_set.images, memberships, spec.unet, schedule, spec.training, state, device
    classifier, evaluations = train_classifier(*task, args.micro_batch_size)
    seconds = state.seconds()
    health = measured_classifier(classifier, spec, training_set, memberships)
    written = save_classifier(args.model, classifier, list(spec.members), spec)
    write_record(f"{args.model}/{RECORD}", spec, written, health=health, **costs(device, evaluations, seconds))
    state.remove()
    cache.store(args.model, spec)


if __name__ == "__main__":
    run(main)

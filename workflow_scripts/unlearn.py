"""Unlearn one group from the base model, by the operator that the spec is of: ReTrack, ESD, fine-tuning or ascent."""

from guda.jobs.cli import add_device_arguments, add_training_arguments, device_of, run, spec_text, stage_parser
from guda.specs import EsdSpec, FinetuneSpec, NegGradSpec, parse_any
from guda.unlearning import OPERATORS


def main() -> None:
    parser = stage_parser(__doc__, threads=True)
    parser.add_argument("--base", required=True, help="folder of the base model (train.py)")
    parser.add_argument("--images", required=True, help="training images (write_images.py)")
    parser.add_argument("--group", required=True, help="members of the group to unlearn (write_group.py)")
    parser.add_argument("--neighbors", nargs="?", help="their nearest retained images (find_neighbors.py), for ReTrack")
    parser.add_argument("--guidance", nargs="*", help="weights and config.json of the conditional network, for ESD")
    parser.add_argument("--model", required=True, help="diffusers folder to write")
    add_training_arguments(parser)
    add_device_arguments(parser)
    args = parser.parse_args()
    spec = parse_any(OPERATORS.values(), spec_text(args.spec))

    from pathlib import Path

    from guda.core.artifacts import sha256_file
    from guda.core.paths import RECORD, WEIGHTS
    from guda.models.cache import ModelCache

    cache, parent = ModelCache(args.cache), sha256_file(f"{args.base}/{WEIGHTS}")
    if cache.fetch(args.model, spec, parent, base=args.base):
        return
    device = device_of(args)

    from guda.core.artifacts import load_tensors
    from guda.core.device import costs
    from guda.core.records import write_record
    from guda.data.training_set import read_training_set
    from guda.models.denoisers import load_denoiser, save_denoiser
    from guda.models.noise_schedule import NoiseSchedule
    from guda.scoring.probe import measured
    from guda.training.state import TrainingState
    from guda.unlearning import esd, finetune, neggrad, retrack

    schedule = NoiseSchedule.from_config(spec.noise_schedule)
    base, _ = load_denoiser(args.base, schedule, spec.base)
    base.to(device)
    training_set = read_training_set(args.images, spec.images)
    forget = training_set.in_group(args.group, spec.group)
    state = TrainingState(args.model, spec, args.checkpoint_steps, parent)
    task, how = (base, training_set.images, forget), (spec.settings, state, args.micro_batch_size)
    if isinstance(spec, EsdSpec):
        conditional, _ = load_denoiser(Path(args.guidance[0]).parent, schedule, spec.conditional)
        denoiser, evaluations = esd.unlearn(*task, conditional.to(device), spec.label, *how)
    elif isinstance(spec, FinetuneSpec):
        denoiser, evaluations = finetune.unlearn(*task, *how)
    elif isinstance(spec, NegGradSpec):
        denoiser, evaluations = neggrad.unlearn(*task, *how)
    else:
        neighbors, _ = load_tensors(args.neighbors, spec.neighbors)
        denoiser, evaluations = retrack.unlearn(*task, neighbors["rows"], *how)
    seconds = state.seconds()
    health = measured(denoiser, spec, training_set, forget, base, args.micro_batch_size)
    written = save_denoiser(args.model, denoiser, spec, parent_sha256=parent)
    write_record(f"{args.model}/{RECORD}", spec, written, health=health, **costs(device, evaluations, seconds))
    state.remove()
    cache.store(args.model, spec, parent)


if __name__ == "__main__":
    run(main)

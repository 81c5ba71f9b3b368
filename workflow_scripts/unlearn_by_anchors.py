"""Unlearn one group from a text-to-image model, by redirecting its prompts to anchors."""

from guda.jobs.cli import (
    add_checkpointing_argument,
    add_device_arguments,
    add_training_arguments,
    device_of,
    run,
    spec_text,
    stage_parser,
)
from guda.specs import AnchorsSpec


def main() -> None:
    parser = stage_parser(__doc__, threads=True)
    parser.add_argument("--base", required=True, help="folder of the base model (fine_tune.py)")
    parser.add_argument("--samples", required=True, help="encoded training images (encode_samples.py)")
    parser.add_argument("--anchors", required=True, help="encoded anchors (encode_anchors.py)")
    parser.add_argument("--group", required=True, help="members of the group to unlearn (write_group.py)")
    parser.add_argument("--model", required=True, help="folder to write: diffusers' files, or adapters alone")
    add_training_arguments(parser)
    add_checkpointing_argument(parser)
    add_device_arguments(parser)
    args = parser.parse_args()
    spec = AnchorsSpec.parse(spec_text(args.spec))

    from pathlib import Path

    from guda.core.artifacts import sha256_file
    from guda.core.paths import ADAPTER, MODEL_FILES, RECORD, WEIGHTS
    from guda.models.cache import ModelCache

    adapted = spec.settings.trainable == "lora"
    files, others = ((ADAPTER,), MODEL_FILES) if adapted else (MODEL_FILES, (ADAPTER,))
    for name in others:  # of a model that was here under another `trainable`; snakemake does not know them
        Path(args.model, name).unlink(missing_ok=True)
    cache, parent = ModelCache(args.cache, files), sha256_file(f"{args.base}/{WEIGHTS}")
    if cache.fetch(args.model, spec, parent, base=args.base):
        return
    device = device_of(args)

    from dataclasses import replace

    from guda.core.device import costs
    from guda.core.records import write_record
    from guda.data.training_set import read_training_set
    from guda.models.denoisers import load_denoiser, save_adapters, save_denoiser
    from guda.models.noise_schedule import NoiseSchedule
    from guda.scoring.probe import measured
    from guda.training.state import TrainingState
    from guda.unlearning.anchors import read_anchors, unlearn

    base, _ = load_denoiser(args.base, NoiseSchedule.from_config(spec.noise_schedule), spec.base)
    if args.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
    training_set = read_training_set(args.samples, spec.samples)
    forget = training_set.in_group(args.group, spec.group)
    captions = replace(training_set.captions, seed=spec.settings.seed)
    state = TrainingState(args.model, spec, args.checkpoint_steps, parent)
    book = read_anchors(args.anchors, spec.anchors)
    task = base.to(device), training_set.images, forget, captions
    denoiser, evaluations = unlearn(*task, book, spec.settings, state, args.micro_batch_size)
    seconds = state.seconds()
    health = measured(denoiser, spec, training_set, forget, base, args.micro_batch_size)
    save = save_adapters if adapted else save_denoiser
    written = save(args.model, denoiser, spec, parent_sha256=parent)
    write_record(f"{args.model}/{RECORD}", spec, written, health=health, **costs(device, evaluations, seconds))
    state.remove()
    cache.store(args.model, spec, parent)


if __name__ == "__main__":
    run(main)

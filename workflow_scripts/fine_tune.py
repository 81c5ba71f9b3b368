"""Fine-tune a text-to-image model from the pretrained pipeline: on all images (the base model), or without a group."""

from guda.core.errors import GudaError
from guda.jobs.cli import (
    add_checkpointing_argument,
    add_device_arguments,
    add_pipeline_argument,
    add_training_arguments,
    device_of,
    run,
    spec_text,
    stage_parser,
)
from guda.specs import FineTuneSpec


def main() -> None:
    parser = stage_parser(__doc__, threads=True)
    add_pipeline_argument(parser)
    parser.add_argument("--samples", required=True, help="encoded training images (encode_samples.py)")
    parser.add_argument("--exclude", help="images to leave out (write_group.py); default: none")
    parser.add_argument("--model", required=True, help="diffusers folder to write")
    add_training_arguments(parser)
    add_checkpointing_argument(parser)
    add_device_arguments(parser)
    args = parser.parse_args()
    spec = FineTuneSpec.parse(spec_text(args.spec))
    if bool(args.exclude) != bool(spec.excluded):
        raise GudaError("--exclude must be given exactly when the spec names what is excluded")

    from guda.models.cache import ModelCache

    cache = ModelCache(args.cache)
    if cache.fetch(args.model, spec, images=args.samples, pipeline=args.pipeline):
        return
    device = device_of(args)

    from dataclasses import replace

    import torch

    from guda.core.device import costs
    from guda.core.paths import RECORD
    from guda.core.records import write_record
    from guda.data.training_set import read_training_set
    from guda.models.denoisers import save_denoiser
    from guda.models.denoisers.text_unet import select_trainable
    from guda.models.stable_diffusion.pipeline import pretrained_denoiser
    from guda.scoring.probe import measured
    from guda.training.loop import finetune
    from guda.training.state import TrainingState

    training_set = read_training_set(args.samples, spec.samples)
    forgotten = training_set.in_group(args.exclude, spec.excluded) if args.exclude else None
    rows = None if forgotten is None else torch.nonzero(~forgotten).flatten()
    captions = replace(training_set.captions, seed=spec.training.seed, dropout=spec.prompt_dropout)
    size = tuple(training_set.images.shape[2:])
    denoiser = pretrained_denoiser(args.pipeline, spec.pipeline, spec.noise_schedule, size)
    select_trainable(denoiser, spec.trainable)
    if args.gradient_checkpointing:
        denoiser.unet.enable_gradient_checkpointing()
    state = TrainingState(args.model, spec, args.checkpoint_steps)
    task = denoiser, training_set.images, captions, spec.training, state, rows, device
    denoiser, evaluations = finetune(*task, args.micro_batch_size)
    seconds = state.seconds()
    health = measured(denoiser, spec, training_set, forgotten, micro_batch_size=args.micro_batch_size)
    written = save_denoiser(args.model, denoiser, spec)
    write_record(f"{args.model}/{RECORD}", spec, written, health=health, **costs(device, evaluations, seconds))
    state.remove()
    cache.store(args.model, spec)


if __name__ == "__main__":
    run(main)

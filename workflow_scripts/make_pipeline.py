"""Train a small Stable Diffusion pipeline: its autoencoder and text encoder, then its UNet."""

import sys

from guda.jobs.cli import device_of, run, spec_text, stage_parser
from guda.specs import PipelineSpec


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument("--images", required=True, help="training images (write_images.py)")
    parser.add_argument("--prompts", required=True, help="their prompts, with the styles (write_prompts.py)")
    parser.add_argument("--style", required=True, help="column of the styles")
    parser.add_argument("--output", required=True, help="diffusers folder to write")
    args = parser.parse_args()
    spec = PipelineSpec.parse(spec_text(args.spec))
    device = device_of(args)

    from pathlib import Path

    import torch

    from guda.core.artifacts import read_csv
    from guda.core.device import costs
    from guda.core.paths import PIPELINE_FILES, RECORD
    from guda.core.records import write_record
    from guda.data.prompts import read_prompts
    from guda.data.training_set import read_training_set
    from guda.models.stable_diffusion.encoder_health import complaints
    from guda.models.stable_diffusion.encoder_measures import encoders_health
    from guda.models.stable_diffusion.pipeline import encode_prompts, save_pipeline
    from guda.training.small_pipeline import ENCODING_BATCH, make_small_pipeline
    from guda.training.state import Execution, TrainingState

    training_set, prompts = read_training_set(args.images, spec.images), read_prompts(args.prompts, spec.prompts)
    rows = torch.arange(len(training_set.ids))
    if spec.settings.styles:
        of_image = read_csv(args.prompts).replace("", None).drop_duplicates("id")[args.style]
        rows = torch.tensor([row for row, style in enumerate(of_image) if style in spec.settings.styles])
    steps, minutes = args.execution.checkpoint_steps, args.execution.checkpoint_minutes
    vae, unet_state = (TrainingState(f"{args.output}/{part}", spec, steps, minutes=minutes) for part in ("vae", "unet"))
    texts = [prompts[sample_id] for sample_id in training_set.ids]
    pipeline, unet, evaluations = make_small_pipeline(
        training_set.images,
        training_set.ids,
        texts,
        rows,
        spec.settings,
        spec.noise_schedule,
        (Execution(vae, device=device), Execution(unet_state, device=device)),
    )
    elapsed = vae.elapsed()
    _, pooled = encode_prompts(pipeline, sorted({text for each in texts for text in each}), ENCODING_BATCH)
    health = encoders_health(pipeline.vae, training_set.images, pooled)
    for complaint in complaints(health):
        print(f"warning: {complaint}", file=sys.stderr)
    save_pipeline(Path(args.output), pipeline, unet, spec)
    written = [f"{args.output}/{file}" for file in PIPELINE_FILES]
    write_record(f"{args.output}/{RECORD}", spec, written, health=health, **costs(device, evaluations, elapsed))
    for state in (vae, unet_state):
        state.remove()


if __name__ == "__main__":
    run(main)

"""Compute features of images, from the base model's middle block or a transformers vision model."""

from guda.jobs.cli import device_of, run, spec_text, stage_parser
from guda.methods.embedding.plan import FeaturesSpec


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument(
        "--network", required=True, help="folder of the base model; for a spec without noise, the vision model"
    )
    parser.add_argument(
        "--images", required=True, help="images (write_images.py, ...) or encoded images (encode_samples.py)"
    )
    parser.add_argument("--output", required=True, help="safetensors file to write: features, ids")
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()
    spec = FeaturesSpec.parse(spec_text(args.spec))
    device = device_of(args)

    from guda.core.artifacts import pack_ids, save_tensors
    from guda.core.device import costs
    from guda.core.errors import ArtifactError
    from guda.core.records import Stopwatch, write_record
    from guda.data.training_set import read_training_set
    from guda.methods.embedding.plan import KEY
    from guda.models.denoisers import load_denoiser
    from guda.models.imported import fetched, vision_digest
    from guda.models.noise_schedule import NoiseSchedule
    from guda.scoring.features import denoiser_features, load_vision_model, vision_features

    samples = read_training_set(args.images, spec.images)
    ids = samples.ids
    if spec.noise is None:
        if vision_digest(args.network, KEY) != spec.model:
            raise ArtifactError(f"{KEY}: {args.network} changed since the workflow was planned; run snakemake again")
        network = load_vision_model(fetched(args.network, KEY), KEY)
        stopwatch = Stopwatch()
        features = vision_features(*network, samples.images, args.execution.batch_size, device)
    else:
        denoiser, _ = load_denoiser(args.network, NoiseSchedule.from_config(spec.noise.noise_schedule), spec.model)
        denoiser.to(device)
        empty = samples.captions.empty.expand(len(ids), -1, -1) if samples.captions else None
        stopwatch = Stopwatch()
        noise, size = spec.noise, args.execution.batch_size
        features = denoiser_features(denoiser.conditioned_on(empty), samples.images, ids, noise.step, noise.seed, size)
    elapsed = stopwatch.elapsed()
    save_tensors(args.output, {"features": features, "ids": pack_ids(ids)}, spec)
    write_record(args.record, spec, [args.output], **costs(device, len(ids), elapsed))


if __name__ == "__main__":
    run(main)

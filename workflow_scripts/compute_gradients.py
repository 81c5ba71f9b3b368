"""Compute every image's gradient of a function of the base model's output, projected to few dimensions."""

from guda.jobs.cli import device_of, run, spec_text, stage_parser
from guda.methods.gradients.plan import GradientsSpec, PartialGradientsSpec
from guda.specs import parse_any


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument("--base", required=True, help="folder of the base model (train.py)")
    parser.add_argument("--samples", required=True, help="training images or queries, possibly encoded")
    parser.add_argument("--output", required=True, help="safetensors file to write: features, residuals, ids")
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()
    spec = parse_any([GradientsSpec, PartialGradientsSpec], spec_text(args.spec))
    device = device_of(args)

    from guda.core.artifacts import pack_ids, save_tensors, sha256_file
    from guda.core.device import costs
    from guda.core.paths import WEIGHTS
    from guda.core.records import FORWARD_AND_BACKWARD, Stopwatch, write_record
    from guda.data.training_set import read_training_set
    from guda.methods.gradients.features import projected_gradients
    from guda.models.denoisers import load_denoiser
    from guda.models.noise_schedule import NoiseSchedule

    model, _ = load_denoiser(args.base, NoiseSchedule.from_config(spec.noise_schedule), spec.base)
    model.to(device)
    samples = read_training_set(args.samples, spec.samples)
    stopwatch = Stopwatch()
    phi, residuals = projected_gradients(model, samples, spec, args.execution.batch_size)
    elapsed = stopwatch.elapsed()
    save_tensors(
        args.output,
        {"features": phi, "residuals": residuals, "ids": pack_ids(samples.ids)},
        spec,
        model_sha256=sha256_file(f"{args.base}/{WEIGHTS}"),
    )
    evaluations = len(samples.ids) * len(spec.steps) * FORWARD_AND_BACKWARD
    write_record(args.record, spec, [args.output], **costs(device, evaluations, elapsed))


if __name__ == "__main__":
    run(main)

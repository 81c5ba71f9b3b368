"""Compute the diagonal of the base model's Fisher information over a sample of the training images."""

from guda.jobs.cli import device_of, run, spec_text, stage_parser
from guda.methods.query_unlearning.plan import FisherSpec, PartialFisherSpec
from guda.specs import parse_any


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument("--base", required=True, help="folder of the base model (train.py)")
    parser.add_argument("--images", required=True, help="training images (write_images.py, encode_samples.py)")
    parser.add_argument("--output", required=True, help="safetensors file to write: one tensor per weight")
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()
    spec: FisherSpec | PartialFisherSpec = parse_any([FisherSpec, PartialFisherSpec], spec_text(args.spec))
    device = device_of(args)

    from guda.core.artifacts import save_tensors, sha256_file
    from guda.core.device import costs
    from guda.core.paths import WEIGHTS
    from guda.core.records import Stopwatch, write_record
    from guda.data.training_set import read_training_set
    from guda.methods.query_unlearning.fisher import diagonal_fisher
    from guda.models.denoisers import load_denoiser
    from guda.models.noise_schedule import NoiseSchedule

    base, _ = load_denoiser(args.base, NoiseSchedule.from_config(spec.noise_schedule), spec.base)
    training_set = read_training_set(args.images, spec.images)
    patterns = spec.parameters if isinstance(spec, PartialFisherSpec) else None
    stopwatch = Stopwatch()
    fisher, evaluations = diagonal_fisher(
        base.to(device), training_set, spec.settings, args.execution.batch_size, patterns
    )
    elapsed = stopwatch.elapsed()
    save_tensors(args.output, fisher, spec, model_sha256=sha256_file(f"{args.base}/{WEIGHTS}"))
    write_record(args.record, spec, [args.output], **costs(device, evaluations, elapsed))


if __name__ == "__main__":
    run(main)

"""Compute the influence of training images on a bucket of queries, by unlearning each query from the base model."""

from guda.jobs.cli import device_of, run, spec_text, stage_parser
from guda.methods.query_unlearning.plan import AbuSpec, MucsSpec


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument("--base", required=True, help="folder of the base model (train.py)")
    parser.add_argument("--images", required=True, help="training images (write_images.py, encode_samples.py)")
    parser.add_argument("--samples", required=True, help="queries (generate.py, encode_samples.py, ...)")
    parser.add_argument("--fisher", nargs="?", help="its Fisher information (compute_fisher.py): AbU; else it is MUCS")
    parser.add_argument("--output", required=True, help="safetensors file to write: scores, ids, train_ids")
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()
    spec = (AbuSpec if args.fisher else MucsSpec).parse(spec_text(args.spec))
    device = device_of(args)

    from guda.core.artifacts import load_tensors, pack_ids, save_tensors, sha256_file
    from guda.core.device import costs
    from guda.core.paths import WEIGHTS
    from guda.core.records import Stopwatch, write_record
    from guda.data.training_set import read_training_set
    from guda.methods.query_unlearning.influence import abu_influence, mucs_influence
    from guda.models.denoisers import load_denoiser
    from guda.models.noise_schedule import NoiseSchedule

    base, _ = load_denoiser(args.base, NoiseSchedule.from_config(spec.noise_schedule), spec.base)
    base.to(device)
    training_set, queries = read_training_set(args.images, spec.images), read_training_set(args.samples, spec.samples)
    fisher = load_tensors(args.fisher, spec.fisher)[0] if isinstance(spec, AbuSpec) else {}
    stopwatch = Stopwatch()
    if isinstance(spec, MucsSpec):
        scores, evaluations = mucs_influence(base, queries, training_set, spec.settings, args.execution.batch_size)
    else:
        scores, evaluations = abu_influence(
            base, queries, training_set, fisher, spec.mirror, spec.settings, args.execution.batch_size
        )
    elapsed = stopwatch.elapsed()
    sampled = [training_set.ids[row] for row in spec.settings.sampled_rows(training_set.ids)]
    save_tensors(
        args.output,
        {"scores": scores, "ids": pack_ids(queries.ids), "train_ids": pack_ids(sampled)},
        spec,
        model_sha256=sha256_file(f"{args.base}/{WEIGHTS}"),
    )
    write_record(args.record, spec, [args.output], **costs(device, evaluations, elapsed))


if __name__ == "__main__":
    run(main)

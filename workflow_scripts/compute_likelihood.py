"""Compute the log likelihood of some of the queries under one model, by the probability-flow ODE."""

from guda.jobs.cli import device_of, run, spec_text, stage_parser
from guda.specs import LikelihoodSpec


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument("--model", required=True, help="folder of the model (train.py or unlearn.py)")
    parser.add_argument("--results", required=True, help="results folder with the queries")
    parser.add_argument("--output", required=True, help="safetensors file to write: log_likelihood, ids")
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()
    spec = LikelihoodSpec.parse(spec_text(args.spec))
    device = device_of(args)

    import torch

    from guda.core.artifacts import load_tensors, pack_ids, save_tensors, sha256_file, unpack_ids
    from guda.core.device import costs
    from guda.core.paths import WEIGHTS, Paths
    from guda.core.records import Stopwatch, write_record
    from guda.core.seeding import chosen
    from guda.models.denoisers import load_denoiser
    from guda.models.noise_schedule import NoiseSchedule
    from guda.scoring.likelihood import evaluations, log_likelihoods

    settings, paths = spec.settings, Paths(args.results)
    model, provenance = load_denoiser(args.model, NoiseSchedule.from_config(settings.noise_schedule), spec.model)
    model.requires_grad_(False).to(device)
    buckets = [load_tensors(paths.queries(bucket), expected)[0] for bucket, expected in spec.buckets.items()]
    ids = [query for bucket in buckets for query in unpack_ids(bucket["ids"])]
    rows = chosen(ids, settings.queries, "likelihood", settings.seed)
    images, ids = torch.cat([bucket["images"] for bucket in buckets])[rows], [ids[row] for row in rows]
    stopwatch = Stopwatch()
    found = log_likelihoods(model, images, ids, settings, args.execution.batch_size)
    seconds = stopwatch.seconds()
    save_tensors(
        args.output,
        {"log_likelihood": found, "ids": pack_ids(ids)},
        spec,
        model_sha256=sha256_file(f"{args.model}/{WEIGHTS}"),
        parent_sha256=provenance.get("parent_sha256", ""),
    )
    write_record(args.record, spec, [args.output], **costs(device, len(ids) * evaluations(settings), seconds))


if __name__ == "__main__":
    run(main)

"""Compute the log likelihood of some of the queries under one model, by the probability-flow ODE."""

from guda.jobs.cli import device_of, run, spec_text, stage_parser
from guda.specs import LikelihoodSpec


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument("--model", required=True, help="folder of the model (train.py or unlearn.py)")
    parser.add_argument(
        "--base", nargs="*", help="weights and config.json of the base model, if the model is adapters only"
    )
    parser.add_argument(
        "--samples", required=True, nargs="+", help="the queries as the network's inputs, one file per bucket"
    )
    parser.add_argument("--output", required=True, help="safetensors file to write: log_likelihood, ids")
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()
    spec = LikelihoodSpec.parse(spec_text(args.spec))
    device = device_of(args)

    from pathlib import Path

    import torch

    from guda.core.artifacts import pack_ids, save_tensors, sha256_file
    from guda.core.device import costs
    from guda.core.paths import ADAPTER, WEIGHTS
    from guda.core.records import Stopwatch, write_record
    from guda.core.seeding import chosen
    from guda.data.training_set import read_training_set
    from guda.models.denoisers import load_denoiser
    from guda.models.noise_schedule import NoiseSchedule
    from guda.scoring.likelihood import evaluations, log_likelihoods

    settings, base = spec.settings, Path(args.base[0]).parent if args.base else None
    schedule = NoiseSchedule.from_config(settings.noise_schedule)
    model, provenance = load_denoiser(args.model, schedule, spec.model, base)
    model.requires_grad_(False).to(device)
    expected = spec.buckets.values()
    buckets = [read_training_set(path, digest) for path, digest in zip(args.samples, expected, strict=True)]
    ids = [query for bucket in buckets for query in bucket.ids]
    rows = chosen(ids, settings.queries, "likelihood", settings.seed)
    images, ids = torch.cat([bucket.images for bucket in buckets])[rows], [ids[row] for row in rows]
    prompts = [prompts for bucket in buckets if (prompts := bucket.conditions(range(len(bucket.ids)))) is not None]
    denoiser = model.conditioned_on(torch.cat(prompts)[rows] if prompts else None)
    stopwatch = Stopwatch()
    found = log_likelihoods(denoiser, images, ids, settings, args.execution.batch_size)
    elapsed = stopwatch.elapsed()
    save_tensors(
        args.output,
        {"log_likelihood": found, "ids": pack_ids(ids)},
        spec,
        model_sha256=sha256_file(f"{args.model}/{ADAPTER if args.base else WEIGHTS}"),
        parent_sha256=provenance.get("parent_sha256", ""),
    )
    write_record(args.record, spec, [args.output], **costs(device, len(ids) * evaluations(settings), elapsed))


if __name__ == "__main__":
    run(main)

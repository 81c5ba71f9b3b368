"""Compute a classifier's group probabilities for each image at every diffusion step."""

from guda.jobs.cli import device_of, run, spec_text, stage_parser
from guda.specs import PosteriorsSpec


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument("--model", required=True, help="folder of the classifier (train.py)")
    parser.add_argument("--samples", required=True, help="images to classify (generate.py)")
    parser.add_argument("--output", required=True, help="safetensors file to write: posteriors, steps, ids")
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()
    spec = PosteriorsSpec.parse(spec_text(args.spec))
    device = device_of(args)

    import json

    import numpy as np
    import torch

    from guda.core.artifacts import load_tensors, pack_ids, save_tensors, sha256_file, unpack_ids
    from guda.core.device import costs
    from guda.core.paths import WEIGHTS
    from guda.core.records import Stopwatch, write_record
    from guda.models.classifier import load_classifier
    from guda.models.noise_schedule import NoiseSchedule
    from guda.scoring.posteriors import posteriors

    schedule = NoiseSchedule.from_config(spec.elbo.noise_schedule)
    classifier, groups = load_classifier(args.model, schedule, spec.model)
    classifier.to(device)
    samples, _ = load_tensors(args.samples, spec.samples)
    ids, steps = unpack_ids(samples["ids"]), np.array(spec.elbo.steps)
    stopwatch = Stopwatch()
    found = posteriors(classifier, samples["images"], ids, steps, spec.elbo.seed, args.execution.batch_size)
    elapsed = stopwatch.elapsed()
    save_tensors(
        args.output,
        {"posteriors": found, "steps": torch.from_numpy(steps), "ids": pack_ids(ids)},
        spec,
        query_ids=json.dumps(ids),
        groups=json.dumps(groups),
        model_sha256=sha256_file(f"{args.model}/{WEIGHTS}"),
    )
    write_record(args.record, spec, [args.output], **costs(device, len(ids) * len(steps), elapsed))


if __name__ == "__main__":
    run(main)

"""Compute how much worse a mixture of groups explains images without each group, at every diffusion step."""

from guda.jobs.cli import device_of, run, spec_text, stage_parser
from guda.methods.mixture.plan import MixtureTermsSpec


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument("--conditional", required=True, help="folder of the conditional network (train.py)")
    parser.add_argument("--classifier", required=True, help="folder of the classifier (train.py)")
    parser.add_argument("--samples", required=True, help="images to score (generate.py)")
    parser.add_argument("--output", required=True, help="safetensors file to write: kl_differences, steps, ids")
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()
    spec = MixtureTermsSpec.parse(spec_text(args.spec))
    device = device_of(args)

    import json

    import numpy as np
    import torch

    from guda.core.artifacts import load_tensors, pack_ids, save_tensors, sha256_file, unpack_ids
    from guda.core.device import costs
    from guda.core.paths import WEIGHTS
    from guda.core.records import Stopwatch, write_record
    from guda.methods.mixture.terms import mixture_terms
    from guda.models.classifier import load_classifier
    from guda.models.denoisers import load_denoiser
    from guda.models.noise_schedule import NoiseSchedule

    schedule = NoiseSchedule.from_config(spec.elbo.noise_schedule)
    conditional, _ = load_denoiser(args.conditional, schedule, spec.conditional)
    classifier, groups = load_classifier(args.classifier, schedule, spec.classifier)
    conditional.to(device).precision = spec.elbo.precision
    classifier.to(device)
    samples, _ = load_tensors(args.samples, spec.samples)
    ids, steps = unpack_ids(samples["ids"]), np.array(spec.elbo.steps)
    task = samples["images"], ids, steps, spec.elbo.seed, args.execution.batch_size
    stopwatch = Stopwatch()
    found = mixture_terms(conditional, classifier, *task)
    elapsed = stopwatch.elapsed()
    save_tensors(
        args.output,
        {"kl_differences": found, "steps": torch.from_numpy(steps), "ids": pack_ids(ids)},
        spec,
        query_ids=json.dumps(ids),
        groups=json.dumps(groups),
        conditional_sha256=sha256_file(f"{args.conditional}/{WEIGHTS}"),
        classifier_sha256=sha256_file(f"{args.classifier}/{WEIGHTS}"),
    )
    evaluations = len(ids) * len(steps) * (len(groups) + 1)
    write_record(args.record, spec, [args.output], **costs(device, evaluations, elapsed))


if __name__ == "__main__":
    run(main)

"""Compute the KL terms of queries under the base model, shifted by a kernel estimate of each group's absence."""

from guda.jobs.cli import device_of, run, spec_text, stage_parser
from guda.methods.kernel.plan import KernelTermsSpec


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument("--base", required=True, help="folder of the base model (train.py)")
    parser.add_argument("--images", required=True, help="training images (write_images.py, encode_samples.py)")
    parser.add_argument("--samples", required=True, help="queries (generate.py, encode_samples.py, ...)")
    parser.add_argument("--results", required=True, help="results folder with the groups")
    parser.add_argument(
        "--features",
        nargs="*",
        help="features of the training images and of the queries, if the kernel compares features",
    )
    parser.add_argument("--output", required=True, help="safetensors file to write: kl, steps, step_weights, ids")
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()
    spec = KernelTermsSpec.parse(spec_text(args.spec))
    device = device_of(args)

    import numpy as np
    import torch

    from guda.core.artifacts import load_tensors, pack_ids, save_tensors, sha256_file
    from guda.core.device import costs
    from guda.core.paths import WEIGHTS, Paths
    from guda.core.records import Stopwatch, write_record
    from guda.data.training_set import read_training_set
    from guda.methods.kernel.terms import fitted_kernels, kernel_terms
    from guda.models.denoisers import load_denoiser
    from guda.models.noise_schedule import NoiseSchedule, step_weights

    base, _ = load_denoiser(args.base, NoiseSchedule.from_config(spec.elbo.noise_schedule), spec.base)
    base.to(device).precision = spec.elbo.precision
    training_set, queries = read_training_set(args.images, spec.images), read_training_set(args.samples, spec.samples)
    group_path = Paths(args.results).group
    held = [training_set.in_group(group_path(group), expected) for group, expected in spec.members.items()]
    members, steps = [rows.nonzero().flatten() for rows in held], np.array(spec.elbo.steps)
    files = zip(args.features or [], spec.features, strict=True)
    features = [load_tensors(path, expected)[0]["features"] for path, expected in files]
    stopwatch = Stopwatch()
    kernels, widths = fitted_kernels(training_set, members, spec.pixels, features, device)
    denoiser = base.conditioned_on(queries.conditions(range(len(queries.ids))))
    size = args.execution.batch_size
    kl = kernel_terms(denoiser, queries, training_set, kernels, members, steps, spec.elbo.seed, size)
    elapsed = stopwatch.elapsed()
    save_tensors(
        args.output,
        {
            "kl": kl,
            "steps": torch.from_numpy(steps),
            "step_weights": torch.from_numpy(step_weights(steps, spec.elbo.first, spec.elbo.last)),
            "ids": pack_ids(queries.ids),
        },
        spec,
        model_sha256=sha256_file(f"{args.base}/{WEIGHTS}"),
    )
    write_record(args.record, spec, [args.output], **costs(device, len(queries.ids) * len(steps), elapsed), **widths)


if __name__ == "__main__":
    run(main)

"""Compute the influence of training images on a bucket of queries, by unlearning each query from the base model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guda.jobs.cli import device_of, run, spec_text, stage_parser
from guda.methods.query_unlearning.plan import AbuSpec, MucsSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument("--base", required=True, help="folder of the base model (train.py)")
    parser.add_argument("--images", required=True, help="training images (write_images.py, encode_samples.py)")
    parser.add_argument("--samples", required=True, help="queries (generate.py, encode_samples.py, ...)")
    parser.add_argument(
        "--fisher", nargs="?", help="its Fisher information (compute_fisher.py), for AbU; without it, MUCS is run"
    )
    parser.add_argument("--output", required=True, help="safetensors file to write: scores, ids, train_ids")
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()
    spec = (AbuSpec if args.fisher else MucsSpec).parse(spec_text(args.spec))
    device = device_of(args)

    import torch

    from guda.core.artifacts import load_tensors, pack_ids, save_tensors, sha256_file
    from guda.core.device import costs
    from guda.core.paths import WEIGHTS
    from guda.core.records import write_record
    from guda.core.store import Store, StoredSpec, sample_keys
    from guda.data.training_set import read_training_set
    from guda.methods.query_unlearning.influence import abu_influence, mucs_influence
    from guda.models.denoisers import load_denoiser, network_files
    from guda.models.noise_schedule import NoiseSchedule

    base, _ = load_denoiser(args.base, NoiseSchedule.from_config(spec.noise_schedule), spec.base)
    base.to(device)
    training_set, queries = read_training_set(args.images, spec.images), read_training_set(args.samples, spec.samples)
    fisher = load_tensors(args.fisher, spec.fisher)[0] if isinstance(spec, AbuSpec) else {}
    batch_size = args.execution.batch_size

    def compute(rows: list[int], places: list[int]) -> Iterator[np.ndarray]:
        asked = queries.among(rows)
        if isinstance(spec, MucsSpec):
            found = mucs_influence(base, asked, training_set, spec.settings, batch_size)
        else:
            found = abu_influence(base, asked, training_set, fisher, spec.mirror, spec.settings, batch_size)
        for scores, evaluations in found:  # a query's cost is appended to its scores
            yield torch.cat([scores, torch.tensor([evaluations])])[None, None].numpy()

    read = {"images": args.images} | ({"fisher": args.fisher} if args.fisher else {})
    stored = StoredSpec.of(spec, network_files(args.base) | read, ["base", "samples", *read])
    keys = sample_keys(queries.ids, queries.images.numpy(), queries.conditions(range(len(queries.ids))))
    values, elapsed = Store(args.execution.store, stored).complete(keys, [0], compute)
    scores, evaluations = torch.from_numpy(values[:, 0, :-1]), round(values[:, 0, -1].sum(dtype="f8"))
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

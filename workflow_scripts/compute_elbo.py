"""Compute the per-step KL terms of a set of images under one model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guda.jobs.cli import device_of, run, spec_text, stage_parser
from guda.specs import ConditionalElboSpec, ElboSpec, parse_any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import torch


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument("--model", required=True, help="folder of the model (train.py or unlearn.py)")
    parser.add_argument(
        "--base", nargs="*", help="weights and config.json of the base model, if the model is adapters only"
    )
    parser.add_argument("--samples", required=True, help="images to score (generate.py or sample_calibration.py)")
    parser.add_argument(
        "--scored", nargs="?", help="file of the same images' terms under the same model that includes these steps"
    )
    parser.add_argument("--output", required=True, help="safetensors file to write: kl, steps, step_weights, ids")
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()
    spec: ElboSpec | ConditionalElboSpec = parse_any([ElboSpec, ConditionalElboSpec], spec_text(args.spec))
    if args.scored and isinstance(spec, ElboSpec):
        from guda.scoring.scored_terms import take_terms

        take_terms(args.scored, spec, args.output, args.record)
        return
    device = device_of(args)

    import json
    from pathlib import Path

    import numpy as np
    import torch

    from guda.core.artifacts import pack_ids, save_tensors, sha256_file
    from guda.core.device import costs
    from guda.core.paths import ADAPTER, WEIGHTS
    from guda.core.records import write_record
    from guda.core.store import Store, StoredSpec, sample_keys
    from guda.data.training_set import read_training_set
    from guda.models.denoisers import load_denoiser, network_files
    from guda.models.noise_schedule import NoiseSchedule, step_weights
    from guda.scoring.elbo import kl_parts

    schedule = NoiseSchedule.from_config(spec.elbo.noise_schedule)
    base = Path(args.base[0]).parent if args.base else None
    model, provenance = load_denoiser(args.model, schedule, spec.model, base)
    model.to(device).precision = spec.elbo.precision
    samples, steps = read_training_set(args.samples, spec.samples), np.array(spec.elbo.steps)
    ids, batch_size = samples.ids, args.execution.batch_size

    def conditions(rows: Sequence[int]) -> torch.Tensor | None:
        if not isinstance(spec, ConditionalElboSpec):
            return samples.conditions(rows)
        if samples.captions is None:
            return torch.full((len(rows),), spec.label)
        return samples.conditions(rows, 1 + spec.label)  # the first prompt names no group

    def compute(rows: list[int], places: list[int]) -> Iterator[np.ndarray]:
        denoiser, some = model.conditioned_on(conditions(rows)), [ids[row] for row in rows]
        for part in kl_parts(denoiser, samples.images[rows], some, steps[places], spec.elbo.seed, batch_size):
            yield part.numpy()

    any_sample = ["model", "samples", "elbo.steps", "elbo.first", "elbo.last"]
    stored = StoredSpec.of(spec, network_files(args.model, base), any_sample)
    keys = sample_keys(ids, samples.images.numpy(), conditions(range(len(ids))))
    kl, elapsed = Store(args.execution.store, stored).complete(keys, spec.elbo.steps, compute, batch_size)
    save_tensors(
        args.output,
        {
            "kl": torch.from_numpy(kl),
            "steps": torch.from_numpy(steps),
            "step_weights": torch.from_numpy(step_weights(steps, spec.elbo.first, spec.elbo.last)),
            "ids": pack_ids(ids),
        },
        spec,
        query_ids=json.dumps(ids),
        model_sha256=sha256_file(f"{args.model}/{ADAPTER if args.base else WEIGHTS}"),
        parent_sha256=provenance.get("parent_sha256", ""),
    )
    write_record(args.record, spec, [args.output], **costs(device, len(ids) * len(steps), elapsed))


if __name__ == "__main__":
    run(main)

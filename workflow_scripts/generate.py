"""Generate a bucket of query images, each from its own seed, and from its own prompt where it has one.

One model does it, or several do, each of which was tuned on exemplars of a group.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from guda.jobs.cli import device_of, run, spec_text, stage_parser
from guda.specs import ExemplarQueriesSpec, PromptedQueriesSpec, QueriesSpec, Spec, parse_any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import torch


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument("--weights", nargs="+", required=True, help="those of the model, or of models (tune.py)")
    parser.add_argument("--pipeline", default="", help="what decodes latents: a diffusers folder, or OWNER/NAME@COMMIT")
    parser.add_argument("--prompts", nargs="?", help="the queries' prompts (write_prompts.py), if they have any")
    parser.add_argument("--output", required=True, help="safetensors file to write: images and ids")
    args = parser.parse_args()
    kinds: list[type[Spec]] = [QueriesSpec, PromptedQueriesSpec, ExemplarQueriesSpec]
    spec: QueriesSpec | PromptedQueriesSpec | ExemplarQueriesSpec = parse_any(kinds, spec_text(args.spec))
    parts = list(spec.of_groups.values()) if isinstance(spec, ExemplarQueriesSpec) else [spec]
    device = device_of(args)

    import torch

    from guda.core.artifacts import pack_ids, save_tensors
    from guda.models.sampling import plain

    images = torch.cat(
        [drawn(part, Path(file).parent, args, device) for part, file in zip(parts, args.weights, strict=True)]
    )
    if count := plain(images).sum().item():
        print(
            f"warning: {count} of {len(images)} images are of one colour: look at the model's health", file=sys.stderr
        )
    ids = [query for part in parts for query in part.ids]
    save_tensors(args.output, {"images": images, "ids": pack_ids(ids)}, spec)


def drawn(spec: QueriesSpec | PromptedQueriesSpec, folder: Path, args: Namespace, device: torch.device) -> torch.Tensor:
    """Images uint8 [n, C, H, W] that the model in the folder generates, or has generated before, by the store."""
    import torch

    from guda.core.store import Store, StoredSpec, sample_keys
    from guda.data.prompts import read_prompts
    from guda.jobs.drawing import draw, opened
    from guda.models.denoisers import load_denoiser, network_files
    from guda.models.noise_schedule import NoiseSchedule

    model, _ = load_denoiser(folder, NoiseSchedule.from_config(spec.noise_schedule), spec.base)
    model.to(device)

    def compute(rows: list[int], places: list[int]) -> Iterator[np.ndarray]:
        some = [spec.ids[row] for row in rows]
        yield draw(model, spec, some, opened(spec, args.pipeline, device), args.prompts).numpy()[:, None]

    prompts = read_prompts(args.prompts, spec.prompts) if isinstance(spec, PromptedQueriesSpec) else {}
    keys = sample_keys(["\n".join([query, *prompts.get(query, [])]) for query in spec.ids])
    stored = StoredSpec.of(spec, network_files(folder), ["base", "ids", *(["prompts"] if prompts else [])])
    values, _ = Store(args.execution.store, stored).complete(keys, [0], compute)
    return torch.from_numpy(values[:, 0])


if __name__ == "__main__":
    run(main)

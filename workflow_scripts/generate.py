"""Generate a bucket of query images from a model, each from its own seed, and from its own prompt where it has one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from guda.jobs.cli import device_of, run, spec_text, stage_parser
from guda.specs import PromptedQueriesSpec, QueriesSpec, parse_any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument("--base", required=True, help="folder of the model (train.py)")
    parser.add_argument("--pipeline", default="", help="what decodes latents: a diffusers folder, or OWNER/NAME@COMMIT")
    parser.add_argument("--prompts", nargs="?", help="the queries' prompts (write_prompts.py), if they have any")
    parser.add_argument("--output", required=True, help="safetensors file to write: images and ids")
    args = parser.parse_args()
    spec: QueriesSpec | PromptedQueriesSpec = parse_any([QueriesSpec, PromptedQueriesSpec], spec_text(args.spec))
    device = device_of(args)

    import torch

    from guda.core.artifacts import pack_ids, save_tensors
    from guda.core.store import Store, StoredSpec, sample_keys
    from guda.data.prompts import read_prompts
    from guda.jobs.drawing import draw, opened
    from guda.models.denoisers import load_denoiser, network_files
    from guda.models.noise_schedule import NoiseSchedule
    from guda.models.sampling import plain

    base, _ = load_denoiser(args.base, NoiseSchedule.from_config(spec.noise_schedule), spec.base)
    base.to(device)

    def compute(rows: list[int], places: list[int]) -> Iterator[np.ndarray]:
        some = [spec.ids[row] for row in rows]
        yield draw(base, spec, some, opened(spec, args.pipeline, device), args.prompts).numpy()[:, None]

    prompts = read_prompts(args.prompts, spec.prompts) if isinstance(spec, PromptedQueriesSpec) else {}
    keys = sample_keys(["\n".join([query, *prompts.get(query, [])]) for query in spec.ids])
    stored = StoredSpec.of(spec, network_files(args.base), ["base", "ids", *(["prompts"] if prompts else [])])
    values, _ = Store(args.execution.store, stored).complete(keys, [0], compute)
    images = torch.from_numpy(values[:, 0])
    if count := plain(images).sum().item():
        print(
            f"warning: {count} of {len(images)} images are of one colour: look at the model's health", file=sys.stderr
        )
    save_tensors(args.output, {"images": images, "ids": pack_ids(spec.ids)}, spec)


if __name__ == "__main__":
    run(main)

"""Speed of ELBO terms: ours against the bare network at its best batch size, and against a loop over models and steps.

`of_bare` is our evaluations per second over those of the network alone, on inputs already on the device, at the best
batch size; the limit is 1. `over_plain` is our speedup over a loop that processes one diffusion step of 64 images at a
time in float32, as in public scoring code. `bfloat16` is our speedup in that precision.
"""

from __future__ import annotations

import argparse
from copy import copy

from side_by_side import default_presets, device_and_name, network, ratio, report, seconds

PLAIN_BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", nargs="+", help="'' is config.yaml (default: '', and on a GPU also cifar10)")
    parser.add_argument("--images", type=int, default=64, metavar="N")
    parser.add_argument("--steps", type=int, default=16, metavar="N", help="diffusion steps per image")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128, 512], metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads")
    args = parser.parse_args()
    device, name = device_and_name(args.threads)
    for preset in args.preset or default_presets(device):
        measure(preset, args, device, name)


def measure(preset: str, args: argparse.Namespace, device, name: str) -> None:
    import numpy as np
    import torch

    from guda.data.pixels import to_network_range
    from guda.scoring.elbo import kl_terms

    denoiser, config = network(preset, device)
    in_bfloat16 = copy(denoiser)
    in_bfloat16.precision = "bfloat16"
    shape, ids = denoiser.image_shape, [f"image-{row}" for row in range(args.images)]
    images = torch.randint(0, 256, (args.images, *shape), dtype=torch.uint8)
    steps = np.linspace(1, config.noise_schedule.num_train_timesteps - 1, args.steps).round().astype(int)
    pairs = args.images * args.steps

    @torch.no_grad()
    def bare(size: int) -> None:
        x, t = torch.randn(size, *shape, device=device), torch.full((size,), 100, device=device)
        for _ in range(max(1, pairs // size)):
            denoiser.unet(x, t)

    @torch.no_grad()
    def plain() -> None:
        x = to_network_range(images)
        for step in steps.tolist():
            for start in range(0, args.images, PLAIN_BATCH):
                clean = x[start : start + PLAIN_BATCH].to(device)
                noise, t = torch.randn_like(clean), torch.full((len(clean),), step, device=device)
                residual = noise - denoiser.predict_noise(denoiser.add_noise(clean, noise, t), t)
                residual.square().flatten(1).sum(1).cpu()

    sizes = [size for size in args.batches if size <= pairs]
    batch_size = config.execution.batch_size
    works = {
        "ours": lambda: kl_terms(denoiser, images, ids, steps, 0, batch_size),
        "bfloat16": lambda: kl_terms(in_bfloat16, images, ids, steps, 0, batch_size),
        "plain": plain,
    }
    works |= {f"bare {size}": lambda size=size: bare(size) for size in sizes}
    found = seconds(works, device, args.rounds)
    per_second = {size: [pairs // size * size / each for each in found[f"bare {size}"]] for size in sizes}
    best = max(sizes, key=lambda size: ratio([1 / rate for rate in per_second[size]], [1.0] * args.rounds))
    rates = [pairs / each for each in found["ours"]]
    report(
        "scoring",
        name,
        preset=preset or "config.yaml",
        parameters=sum(each.numel() for each in denoiser.unet.parameters()),
        batch_size=batch_size,
        evaluations_per_second=sorted(rates)[len(rates) // 2],
        best_bare_batch=best,
        of_bare=ratio(per_second[best], rates),
        over_plain=ratio(found["ours"], found["plain"]),
        bfloat16=ratio(found["bfloat16"], found["ours"]),
    )


if __name__ == "__main__":
    main()

"""Speed of unlearning steps (ReTrack): ours against bare steps of the same network, and against a loop over samples.

`of_bare` is bare seconds over ours, where a bare step is the minimum that any implementation needs: forward and
backward passes on as many images as ours, and AdamW's update; the limit is 1. `over_samples` is our speedup over a step
that processes images one by one.
"""

from __future__ import annotations

import argparse

from side_by_side import default_presets, device_and_name, network, ratio, report, seconds

IMAGES, GROUP = 256, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", nargs="+", help="'' is config.yaml (default: '', and on a GPU also cifar10)")
    parser.add_argument("--steps", type=int, default=4, metavar="N", help="steps per round")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--batch", type=int, metavar="N", help="batch size (default: the preset's)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads")
    args = parser.parse_args()
    device, name = device_and_name(args.threads)
    for preset in args.preset or default_presets(device):
        measure(preset, args, device, name)


def measure(preset: str, args: argparse.Namespace, device, name: str) -> None:
    import torch

    from guda.core.device import training_precision
    from guda.core.records import FORWARD_AND_BACKWARD
    from guda.training.state import Execution
    from guda.unlearning.retrack.compute import unlearn
    from guda.unlearning.retrack.plan import evaluations_per_step

    denoiser, config = network(preset, device)
    shape = denoiser.image_shape
    settings = config.unlearn.for_group().model_copy(update={"steps": args.steps, "warmup_steps": 0})
    if args.batch:
        settings = settings.model_copy(update={"batch_size": args.batch})
    images = torch.randint(0, 256, (IMAGES, *shape), dtype=torch.uint8)
    forget = torch.arange(IMAGES) < GROUP
    neighbors = torch.randint(GROUP, IMAGES, (GROUP, settings.n_neighbors))
    n_images = evaluations_per_step(settings) // FORWARD_AND_BACKWARD
    network_of_bare, _ = network(preset, device)
    network_of_bare.unet.train()
    optimizer = torch.optim.AdamW(network_of_bare.unet.parameters(), lr=1e-4)

    def step(size: int) -> None:
        for _ in range(args.steps):
            for _ in range(n_images // size):
                x, t = torch.randn(size, *shape, device=device), torch.full((size,), 100, device=device)
                with training_precision(device):
                    loss = network_of_bare.unet(x, t).sample.float().square().mean()
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    works = {
        "ours": lambda: unlearn(denoiser, images, forget, neighbors, settings, Execution(device=device)),
        "bare": lambda: step(n_images),
        "samples": lambda: step(1),
    }
    found = seconds(works, device, args.rounds)
    report(
        "unlearning",
        name,
        preset=preset or "config.yaml",
        images_a_step=n_images,
        seconds_a_step=sorted(found["ours"])[args.rounds // 2] / args.steps,
        of_bare=ratio(found["ours"], found["bare"]),
        over_samples=ratio(found["ours"], found["samples"]),
    )


if __name__ == "__main__":
    main()

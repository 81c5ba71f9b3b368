"""Other ways to run the network, against plain forward passes on the same images: would they pay?

Figures are ratios, above 1 if faster. `channels_last`: in that memory format. `compiled`: by `torch.compile`, for which
the first process pays `compile_seconds`, later ones a few seconds. `graphs` (on a GPU): compiled, with CUDA graphs.
`stacked`: several models in one pass by `torch.func`, against one after the other; null for networks with attention,
whose normalization refuses it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from copy import deepcopy

from side_by_side import default_presets, device_and_name, network, ratio, report, seconds

MODELS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", nargs="+", help="'' is config.yaml (default: '', and on a GPU also cifar10)")
    parser.add_argument("--batch", type=int, default=64, metavar="N", help="images per forward pass")
    parser.add_argument("--passes", type=int, default=4, metavar="N", help="forward passes per round")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads")
    args = parser.parse_args()
    device, name = device_and_name(args.threads)
    with tempfile.TemporaryDirectory() as empty:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = empty
        for preset in args.preset or default_presets(device):
            measure(preset, args, device, name)


def measure(preset: str, args: argparse.Namespace, device, name: str) -> None:
    import torch
    from diffusers.models.attention_processor import Attention

    denoiser, _ = network(preset, device)
    unet = denoiser.unet
    x = torch.randn(args.batch, *denoiser.image_shape, device=device)
    t = torch.full((args.batch,), 100, device=device)
    in_channels_last = deepcopy(unet).to(memory_format=torch.channels_last)
    x_in_channels_last = x.to(memory_format=torch.channels_last)
    compiled = {"compiled": torch.compile(deepcopy(unet))}
    if device.type == "cuda":
        compiled["graphs"] = torch.compile(deepcopy(unet), mode="reduce-overhead")

    @torch.no_grad()
    def repeated(forward) -> None:
        for _ in range(args.passes):
            forward()

    works = {
        "plain": lambda: repeated(lambda: unet(x, t)),
        "channels_last": lambda: repeated(lambda: in_channels_last(x_in_channels_last, t)),
    }
    if stackable := not any(isinstance(module, Attention) for module in unet.modules()):
        models = [deepcopy(unet) for _ in range(MODELS)]
        state = torch.func.stack_module_state(models)

        def of_one(*its_state):
            return torch.func.functional_call(unet, its_state, (x, t)).sample

        works["in turn"] = lambda: repeated(lambda: [model(x, t) for model in models])
        works["stacked"] = lambda: repeated(lambda: torch.vmap(of_one)(*state))
    works |= {way: lambda forward=forward: repeated(lambda: forward(x, t)) for way, forward in compiled.items()}
    started = time.perf_counter()
    works["compiled"]()
    compile_seconds = time.perf_counter() - started
    found = seconds(works, device, args.rounds)
    report(
        "forward",
        name,
        preset=preset or "config.yaml",
        parameters=sum(each.numel() for each in unet.parameters()),
        batch=args.batch,
        channels_last=ratio(found["channels_last"], found["plain"]),
        stacked=ratio(found["stacked"], found["in turn"]) if stackable else None,
        compile_seconds=compile_seconds,
        **{way: ratio(found[way], found["plain"]) for way in compiled},
    )


if __name__ == "__main__":
    main()

"""Time and memory of Stable Diffusion 1.5, and the estimated hours of presets/unlearncanvas.yaml.

A network of the real architecture with random weights is fine-tuned, unlearns with anchors and scores latents, with the
functions and settings of the preset's jobs, on a GPU if there is one. Each row runs in its own process. Seconds are per
step: a run of several steps minus a run of one, which excludes startup. `peak` is the GPU's reserved memory, or on a
CPU the resident memory of the process.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

IMAGES, TOKENS, WIDTH = 8, 77, 768
CHANNELS, SHRINKING = 4, 8  # of latents
FINE_TUNING, UNLEARNING, SCORING = "fine-tuning", "unlearning", "scoring"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=[FINE_TUNING, UNLEARNING, SCORING], nargs="+", help="default: all")
    parser.add_argument("--trainable", choices=["full", "cross_attention", "lora"], nargs="+", default=["full"])
    parser.add_argument("--size", type=int, default=512, metavar="PIXELS", help="image size (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="steps to time (default: %(default)s)")
    parser.add_argument("--micro-batch-size", type=int, default=0, metavar="N", help="as in `execution`")
    parser.add_argument("--gradient-checkpointing", type=int, choices=[0, 1], default=0, help="as in `execution`")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measured(*args.case.split(","), args)))
        return
    print("| work | trainable weights | device | evaluations per step | seconds per step | peak (GB) ")
    print("|---|---|---|---:|---:|---:|", flush=True)
    rates: dict[str, float] = {}
    for work in args.work or [FINE_TUNING, UNLEARNING, SCORING]:
        for trainable in args.trainable if work == UNLEARNING else ["full"]:
            command = [sys.executable, *sys.argv, "--case", f"{work},{trainable}"]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            rates.setdefault(work, found["evaluations"] / found["seconds"])
            moved = "none" if work == SCORING else trainable
            print(
                f"| {work} | {moved} | {found['device']} | {found['evaluations']} | {found['seconds']:.2f} | "
                f"{found['peak'] / 1e9:.1f} |",
                flush=True,
            )
    if args.size == preset().data.size[0]:
        report(rates)


def measured(work: str, trainable: str, args: argparse.Namespace) -> dict[str, str | float]:
    """Seconds and evaluations per step, peak memory in bytes, and the device."""
    import torch

    from guda.core.device import costs, use_device

    device = use_device(1)
    run = {FINE_TUNING: fine_tuning, UNLEARNING: unlearning, SCORING: scoring}[work](trainable, args, device)
    counted, times = [], []
    run(1)  # warm-up: the first step selects kernels and allocates memory
    for steps in (1, 1 + args.steps):
        begun = time.perf_counter()
        counted.append(run(steps))
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    gpu = costs(device, 1, {"seconds": 1.0})
    peak = gpu.get("peak_gpu_memory_bytes", 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    name = gpu["device"] if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    evaluations = (counted[1] - counted[0]) // args.steps
    return {"seconds": (times[1] - times[0]) / args.steps, "evaluations": evaluations, "peak": peak, "device": name}


def preset():
    """The configuration of presets/unlearncanvas.yaml."""
    from guda.config.file import read_yaml
    from guda.plan.config import load_config

    return load_config(read_yaml(str(ROOT / "presets" / "unlearncanvas.yaml")))


def network(args: argparse.Namespace, device):
    """Stable Diffusion 1.5's network with random weights, and its noise schedule."""
    import torch
    from diffusers import UNet2DConditionModel

    from guda.models.denoisers import TextDenoiser
    from guda.models.noise_schedule import NoiseSchedule

    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=args.size // SHRINKING, cross_attention_dim=WIDTH)
    if args.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    return TextDenoiser(unet, NoiseSchedule.from_config(preset().noise_schedule)).eval().to(device)


def samples(args: argparse.Namespace):
    """Latents of a few images, and their prompts."""
    import torch

    from guda.data.captions import Captions

    captions = Captions(
        embeddings=torch.randn(IMAGES, TOKENS, WIDTH),
        pooled=torch.randn(IMAGES, WIDTH),
        prompts=torch.arange(IMAGES),
        starts=torch.arange(IMAGES + 1),
        empty=torch.zeros(TOKENS, WIDTH),
        ids=[f"image-{row}" for row in range(IMAGES)],
    )
    size = args.size // SHRINKING
    return torch.randn(IMAGES, CHANNELS, size, size), captions


def fine_tuning(trainable: str, args: argparse.Namespace, device):
    from guda.training.loop import fine_tune
    from guda.training.state import Execution

    denoiser, (latents, captions), settings = network(args, device), samples(args), preset().training

    def run(steps: int) -> int:
        changed = settings.model_copy(update={"steps": steps})
        return fine_tune(denoiser, latents, captions, changed, Execution(None, args.micro_batch_size, device))[1]

    return run


def unlearning(trainable: str, args: argparse.Namespace, device):
    import torch

    from guda.training.state import Execution
    from guda.unlearning.anchors.compute import AnchorBook, unlearn

    full, (latents, captions), settings = network(args, device), samples(args), preset().text_to_image.anchors
    half = torch.arange(IMAGES) // (IMAGES // 2)
    styles = torch.tensor([0, 1])
    book = AnchorBook(torch.randn(2, TOKENS, WIDTH), styles, 0 * styles, torch.randn(2, WIDTH), half, 0 * half)

    def run(steps: int) -> int:
        changed = settings.model_copy(update={"steps": steps, "trainable": trainable})
        return unlearn(full, latents, half == 0, captions, book, changed, Execution(None, args.micro_batch_size))[1]

    return run


def scoring(trainable: str, args: argparse.Namespace, device):
    import numpy as np

    from guda.scoring.elbo import kl_terms

    denoiser, (latents, captions) = network(args, device), samples(args)
    batch_size = preset().execution.batch_size

    def run(steps: int) -> int:
        """A step is a batch of the preset's size: two images, each at half as many diffusion steps."""
        chosen = np.arange(10, 10 + steps * batch_size // 2)
        kl_terms(denoiser.conditioned_on(captions.embeddings[:2]), latents[:2], captions.ids[:2], chosen, 0, batch_size)
        return 2 * len(chosen)

    return run


def report(rates: dict[str, float]) -> None:
    """Estimated hours of the preset at these rates."""
    from guda.core.records import FORWARD_AND_BACKWARD
    from guda.models.noise_schedule import elbo_steps
    from guda.unlearning.anchors.compute import anchor_evaluations

    config = preset()
    n_groups, steps, anchors = len(config.data.groups), len(elbo_steps(config.elbo.steps)), config.text_to_image.anchors
    of_base = config.training.steps * config.training.batch_size * FORWARD_AND_BACKWARD
    needed = {
        "fine-tuning of the base model": (FINE_TUNING, of_base),
        f"oracle: {n_groups} fine-tunings": (FINE_TUNING, n_groups * of_base),
        f"GUDA-C: {n_groups} unlearnings": (UNLEARNING, n_groups * anchors.steps * anchor_evaluations(anchors)),
        "scores of the queries, by either method": (SCORING, config.queries.count * steps * (n_groups + 1)),
        "retain calibration": (SCORING, config.attribution.calibration.count * steps * (n_groups + 1)),
    }
    print("\n| of presets/unlearncanvas.yaml | evaluations | hours |\n|---|---:|---:|")
    for name, (work, evaluations) in needed.items():
        hours = f"{evaluations / rates[work] / 3600:.1f}" if work in rates else ""
        print(f"| {name} | {evaluations} | {hours} |")


if __name__ == "__main__":
    main()

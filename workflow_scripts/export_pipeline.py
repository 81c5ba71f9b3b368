"""Export a model of the results as a complete diffusers pipeline, to sample images from it or to share it.

    python workflow_scripts/export_pipeline.py --model results/models/guda/amber --output without-amber

    from diffusers import DDPMPipeline
    DDPMPipeline.from_pretrained("without-amber")(num_inference_steps=50).images

Only unconditional models are supported: the base model, retrained models, and models that have unlearned a group.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from guda.jobs.cli import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=Path, help="folder of a model, under models/ of the results")
    parser.add_argument("--output", required=True, type=Path, help="folder to write")
    args = parser.parse_args()

    from guda.models.pipeline_folder import export_pipeline

    export_pipeline(args.model, args.output)


if __name__ == "__main__":
    run(main)

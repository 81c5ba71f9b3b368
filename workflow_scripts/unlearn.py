"""Unlearn one group from the base model with the operator of the spec."""

from functools import partial
from pathlib import Path

from guda.jobs.cli import run, spec_text, stage_parser
from guda.unlearning import operator_of


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument("--base", required=True, help="folder of the base model (train.py)")
    parser.add_argument(
        "--samples", required=True, help="training images (write_images.py) or encoded images (encode_samples.py)"
    )
    parser.add_argument("--group", required=True, help="members of the group to unlearn (write_group.py)")
    parser.add_argument(
        "--files",
        nargs="*",
        help="further inputs of the operator: neighbors (find_neighbors.py) for ReTrack, weights and config.json of "
        "the conditional network (train.py) for ESD, encoded anchors (encode_anchors.py) for GUDA-C",
    )
    parser.add_argument("--model", required=True, help="folder to write: diffusers files, or adapters only")
    args = parser.parse_args()
    operator, spec = operator_of(spec_text(args.spec))

    from guda.core.artifacts import sha256_file
    from guda.core.paths import ADAPTER, MODEL_FILES, WEIGHTS
    from guda.jobs.model import make_model
    from guda.jobs.unlearning import unlearned

    files, others = ((ADAPTER,), MODEL_FILES) if spec.adapters else (MODEL_FILES, (ADAPTER,))
    for name in others:  # left by a model with another `trainable`; unknown to snakemake
        Path(args.model, name).unlink(missing_ok=True)
    parent = sha256_file(f"{args.base}/{WEIGHTS}")
    prepare = partial(unlearned, operator, spec, args, parent)
    make_model(args, spec, prepare, parent, files, base=args.base)


if __name__ == "__main__":
    run(main)

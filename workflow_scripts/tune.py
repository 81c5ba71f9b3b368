"""Fine-tune the base model on the exemplars of one group: a few of its images, named in the spec."""

from functools import partial

from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import TunedSpec


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument("--base", required=True, help="folder of the base model (train.py)")
    parser.add_argument("--samples", required=True, help="training images (write_images.py)")
    parser.add_argument("--model", required=True, help="folder to write")
    args = parser.parse_args()
    spec = TunedSpec.parse(spec_text(args.spec))

    from guda.core.artifacts import sha256_file
    from guda.core.paths import WEIGHTS
    from guda.jobs.model import make_model
    from guda.jobs.tuning import tuned

    parent = sha256_file(f"{args.base}/{WEIGHTS}")
    make_model(args, spec, partial(tuned, spec, args, parent), parent, base=args.base)


if __name__ == "__main__":
    run(main)

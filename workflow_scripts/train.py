"""Train a denoiser or a group classifier, on all images or without some.

The spec's kind says which: a denoiser trained from scratch, one trained from scratch that is conditioned on an image's
group, a text-to-image denoiser fine-tuned from a pipeline, or the classifier.
"""

from functools import partial

from guda.core.errors import GudaError
from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import ClassifierSpec, ConditionalSpec, FineTuneSpec, ModelSpec, TrainSpec, parse_any


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument(
        "--samples", required=True, help="training images (write_images.py) or encoded images (encode_samples.py)"
    )
    parser.add_argument("--exclude", nargs="?", help="images to leave out (write_group.py, write_exclusion.py), if any")
    parser.add_argument(
        "--results", help="results folder with the groups, if the model is conditioned on or predicts them"
    )
    parser.add_argument(
        "--pipeline", default="", help="pipeline to fine-tune: a diffusers folder, or OWNER/NAME@COMMIT"
    )
    parser.add_argument(
        "--data", help="the section `data` of the configuration, whose held-out images are used to track the loss"
    )
    parser.add_argument("--model", required=True, help="folder to write")
    args = parser.parse_args()
    spec: ModelSpec = parse_any([TrainSpec, FineTuneSpec, ConditionalSpec, ClassifierSpec], spec_text(args.spec))
    if bool(args.exclude) != bool(getattr(spec, "excluded", None)):
        raise GudaError("--exclude must be given if, and only if, the spec names excluded images")
    if isinstance(spec, ConditionalSpec | ClassifierSpec) and not args.results:
        raise GudaError("--results must be given: groups are read from it")
    if isinstance(spec, FineTuneSpec) and not args.pipeline:
        raise GudaError("--pipeline must be given: the model is fine-tuned from it")

    from guda.jobs.model import make_model
    from guda.jobs.training import RECIPES

    prepare = partial(RECIPES[type(spec)], spec, args)
    make_model(args, spec, prepare, images=args.samples, pipeline=args.pipeline)


if __name__ == "__main__":
    run(main)

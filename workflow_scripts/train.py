"""Train a model on all images or without some: a denoiser, or a classifier of groups.

The spec says which: a denoiser from scratch, one from scratch that is conditional on an image's group, a text-to-image
one fine-tuned from a pipeline, or the classifier.
"""

from functools import partial

from guda.core.errors import GudaError
from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import ClassifierSpec, ConditionalSpec, FineTuneSpec, ModelSpec, TrainSpec, parse_any


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    parser.add_argument(
        "--samples", required=True, help="training images (write_images.py), or encoded (encode_samples.py)"
    )
    parser.add_argument("--exclude", nargs="?", help="images to leave out (write_group.py, write_exclusion.py), if any")
    parser.add_argument("--results", help="results folder with the groups, where the model is told them")
    parser.add_argument("--pipeline", default="", help="what is fine-tuned: a diffusers folder, or OWNER/NAME@COMMIT")
    parser.add_argument(
        "--data", help="the section `data` of the configuration, which may keep images aside to follow the loss on them"
    )
    parser.add_argument("--model", required=True, help="folder to write")
    args = parser.parse_args()
    spec: ModelSpec = parse_any([TrainSpec, FineTuneSpec, ConditionalSpec, ClassifierSpec], spec_text(args.spec))
    if bool(args.exclude) != bool(getattr(spec, "excluded", None)):
        raise GudaError("--exclude must be given exactly when the spec names what is excluded")
    if isinstance(spec, ConditionalSpec | ClassifierSpec) and not args.results:
        raise GudaError("--results must be given: the groups are read from there")
    if isinstance(spec, FineTuneSpec) and not args.pipeline:
        raise GudaError("--pipeline must be given: the model is fine-tuned from there")

    from guda.jobs.model import make_model
    from guda.jobs.training import RECIPES

    prepare = partial(RECIPES[type(spec)], spec, args)
    make_model(args, spec, prepare, images=args.samples, pipeline=args.pipeline)


if __name__ == "__main__":
    run(main)

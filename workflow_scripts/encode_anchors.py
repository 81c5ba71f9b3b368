"""Encode anchor prompts and style descriptors, with the contents and styles of the training images."""

from guda.jobs.cli import add_pipeline_argument, device_of, run, spec_text, stage_parser
from guda.specs import EncodedAnchorsSpec


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    add_pipeline_argument(parser)
    parser.add_argument("--prompts", required=True, help="anchor prompts (write_prompts.py)")
    parser.add_argument("--of-images", required=True, help="prompts of the training images, with content and style")
    parser.add_argument("--content", required=True, help="column of contents, which anchors keep")
    parser.add_argument("--style", required=True, help="column of styles, which anchors replace")
    parser.add_argument("--output", required=True, help="safetensors file to write")
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()
    spec = EncodedAnchorsSpec.parse(spec_text(args.spec))
    device = device_of(args)

    from guda.core.artifacts import read_csv, save_tensors
    from guda.core.device import costs
    from guda.core.records import Stopwatch, check_recorded, write_record
    from guda.models.stable_diffusion.pipeline import opened_pipeline
    from guda.unlearning.anchors.compute import encode_book

    check_recorded(args.prompts, spec.prompts)
    check_recorded(args.of_images, spec.of_images)
    pipeline = opened_pipeline(args.pipeline, spec.pipeline).to(device)
    images, prompts = (read_csv(table).replace("", None) for table in (args.of_images, args.prompts))
    images, stopwatch = images.drop_duplicates("id"), Stopwatch()
    book = encode_book(
        pipeline, prompts, list(images[args.content]), list(images[args.style]), args.execution.batch_size
    )
    elapsed = stopwatch.elapsed()
    save_tensors(args.output, book, spec)
    write_record(args.record, spec, [args.output], **costs(device, len(prompts), elapsed))


if __name__ == "__main__":
    run(main)

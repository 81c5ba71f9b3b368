"""Find the nearest retained images of every image of a group, in pixel space."""

from guda.jobs.cli import run, set_threads, spec_text, stage_parser
from guda.specs import NeighborsSpec


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument("--images", required=True, help="training images (write_images.py)")
    parser.add_argument("--group", required=True, help="the group's members (write_group.py)")
    parser.add_argument("--output", required=True, help="safetensors file to write")
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()
    spec = NeighborsSpec.parse(spec_text(args.spec))
    set_threads(args.threads)

    from guda.core.artifacts import save_tensors
    from guda.core.records import Stopwatch, write_record
    from guda.data.training_set import read_training_set
    from guda.unlearning.retrack.neighbors import nearest_retained

    training_set = read_training_set(args.images, spec.images)
    forget = training_set.in_group(args.group, spec.group)
    stopwatch = Stopwatch()
    rows, distances = nearest_retained(training_set.images, forget, spec.n_neighbors)
    elapsed = stopwatch.elapsed()
    save_tensors(args.output, {"rows": rows, "distances": distances}, spec)
    write_record(args.record, spec, [args.output], **elapsed)


if __name__ == "__main__":
    run(main)

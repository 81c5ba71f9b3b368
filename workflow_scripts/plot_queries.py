"""Draw query images with their top groups by one method, beside the oracle's scores."""

from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import FigureSpec


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--results", required=True, help="results folder with queries and rankings")
    parser.add_argument("--output", required=True, help="PNG file to write")
    args = parser.parse_args()
    spec = FigureSpec.parse(spec_text(args.spec))

    from guda.core.artifacts import load_tensors, replacing, unpack_ids
    from guda.core.paths import Paths, record_of
    from guda.core.records import Stopwatch, write_record
    from guda.core.seeding import derive_seed
    from guda.evaluation.metrics_table import read_rankings
    from guda.report.queries import query_figure

    stopwatch, paths, images = Stopwatch(), Paths(args.results), {}
    for bucket, expected in spec.buckets.items():
        tensors, _ = load_tensors(paths.queries(bucket), expected, "np")
        images |= dict(zip(unpack_ids(tensors["ids"]), tensors["images"], strict=True))
    shown = sorted(images, key=lambda query: derive_seed("figure", query))[: spec.settings.queries]
    figure = query_figure(
        {query: images[query] for query in shown},
        read_rankings(paths.rankings(), spec.rankings),
        spec.method,
        spec.oracle,
        spec.settings.top,
    )
    with replacing(args.output) as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Software": None})
    write_record(record_of(args.output), spec, [args.output], seconds=stopwatch.seconds())


if __name__ == "__main__":
    run(main)

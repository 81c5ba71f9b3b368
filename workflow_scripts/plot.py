"""Plot a figure; the spec's kind says which.

Queries with their top groups, samples, learning curves, agreement against cost, the effect of removal, or a sweep.
"""

from guda.jobs.cli import add_results_arguments, run, spec_text, stage_parser


def main() -> None:
    parser = stage_parser(__doc__)
    add_results_arguments(parser, "the figure's inputs")
    parser.add_argument("--output", required=True, help="PNG file to write, with its record beside it")
    args = parser.parse_args()

    from guda.core.artifacts import replacing
    from guda.core.paths import Paths, record_of
    from guda.core.records import Stopwatch, write_record
    from guda.jobs.figures import FIGURES
    from guda.specs import parse_any

    spec = parse_any(FIGURES, spec_text(args.spec))
    stopwatch = Stopwatch()
    figure = FIGURES[type(spec)](spec, Paths(args.results, args.query_set))
    with replacing(args.output) as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Software": None})
    write_record(record_of(args.output), spec, [args.output], **stopwatch.elapsed())


if __name__ == "__main__":
    run(main)

"""Compute a table from files under results; the spec's kind says which.

Group sizes, rankings, model quality, learning curves, or agreement: metrics, metrics by source, significance, LDS,
removal, sweep, likelihoods or reliability.
"""

from guda.jobs.cli import add_results_arguments, run, spec_text, stage_parser


def main() -> None:
    parser = stage_parser(__doc__)
    add_results_arguments(parser, "the table's inputs")
    parser.add_argument("--output", required=True, help="CSV file to write, with its record beside it")
    args = parser.parse_args()

    from guda.core.artifacts import write_csv
    from guda.core.paths import Paths, record_of
    from guda.core.records import Stopwatch, write_record
    from guda.jobs.tables import TABLES
    from guda.specs import parse_any

    spec = parse_any(TABLES, spec_text(args.spec))
    stopwatch = Stopwatch()
    write_csv(args.output, TABLES[type(spec)](spec, Paths(args.results, args.query_set)))
    write_record(record_of(args.output), spec, [args.output], **stopwatch.elapsed())


if __name__ == "__main__":
    run(main)

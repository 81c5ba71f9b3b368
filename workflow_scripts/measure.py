"""Measure every method's rankings against the oracle's, with what each method cost."""

from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import MetricsSpec


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--results", required=True, help="results folder with the rankings and the methods' records")
    parser.add_argument("--output", required=True, help="CSV file to write: one row a method")
    args = parser.parse_args()
    spec = MetricsSpec.parse(spec_text(args.spec))

    from guda.core.artifacts import write_csv
    from guda.core.paths import Paths, record_of
    from guda.core.records import Stopwatch, write_record
    from guda.evaluation.metrics_table import metrics_table, read_costs, read_rankings, score_matrices

    stopwatch, paths = Stopwatch(), Paths(args.results)
    _, matrices = score_matrices(read_rankings(paths.rankings(), spec.rankings))
    write_csv(args.output, metrics_table(matrices, spec.oracles, spec.methods, read_costs(spec, paths), spec.settings))
    write_record(record_of(args.output), spec, [args.output], seconds=stopwatch.seconds())


if __name__ == "__main__":
    run(main)

"""Compare every method's agreement with the oracle with the first method's, by a paired bootstrap over queries."""

from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import SignificanceSpec


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--results", required=True, help="results folder with the rankings")
    parser.add_argument("--output", required=True, help="CSV file to write: one row per method and metric")
    args = parser.parse_args()
    spec = SignificanceSpec.parse(spec_text(args.spec))

    from guda.core.artifacts import write_csv
    from guda.core.paths import Paths, record_of
    from guda.core.records import Stopwatch, write_record
    from guda.evaluation.metrics_table import read_rankings, score_matrices
    from guda.evaluation.significance import significance_table

    stopwatch = Stopwatch()
    _, matrices = score_matrices(read_rankings(Paths(args.results).rankings(), spec.rankings))
    table = significance_table(
        matrices, spec.oracles, spec.methods, spec.bootstrap_samples, spec.seed, spec.decisive_ratio
    )
    write_csv(args.output, table)
    write_record(record_of(args.output), spec, [args.output], seconds=stopwatch.seconds())


if __name__ == "__main__":
    run(main)

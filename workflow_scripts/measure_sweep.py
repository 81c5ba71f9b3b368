"""Measure every variant of the sweep against every seed of the oracle, and choose by the second seed."""

from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import SweepSpec


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--results", required=True, help="results folder with the scores of variants and oracles")
    parser.add_argument("--output", required=True, help="CSV file to write: one row per variant and oracle")
    args = parser.parse_args()
    spec = SweepSpec.parse(spec_text(args.spec))

    import math

    import pandas as pd

    from guda.core.artifacts import write_csv
    from guda.core.paths import Paths, record_of
    from guda.core.records import Stopwatch, read_record, write_record
    from guda.evaluation.metrics_table import score_matrices
    from guda.evaluation.ranking import rankings_frame
    from guda.evaluation.scores import read_scores
    from guda.evaluation.sweep import sweep_table

    stopwatch, paths, frames, seconds, health = Stopwatch(), Paths(args.results), [], {}, {}
    for name, expected in spec.scores.items():
        scores = read_scores(paths.scores(name), expected)
        frames.append(rankings_frame(name, scores.queries, scores.groups, scores.score, None, None))
        record = read_record(paths.scores_record(name), expected)
        seconds[name], health[name] = record["build_seconds"], record.get("health_worst", math.nan)
    _, matrices = score_matrices(pd.concat(frames))
    write_csv(args.output, sweep_table(matrices, seconds, health, spec))
    write_record(record_of(args.output), spec, [args.output], seconds=stopwatch.seconds())


if __name__ == "__main__":
    run(main)

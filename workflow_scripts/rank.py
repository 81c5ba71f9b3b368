"""Rank the groups of every query by every method, in one table."""

from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import RankingsSpec


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--results", required=True, help="results folder with the methods' scores")
    parser.add_argument("--output", required=True, help="CSV file to write")
    args = parser.parse_args()
    spec = RankingsSpec.parse(spec_text(args.spec))

    import pandas as pd

    from guda.core.artifacts import write_csv
    from guda.core.paths import Paths, record_of
    from guda.core.records import Stopwatch, write_record
    from guda.evaluation.ranking import rankings_frame
    from guda.evaluation.scores import read_scores

    stopwatch = Stopwatch()
    paths, frames = Paths(args.results), []
    for name, file in spec.files.items():
        scores = read_scores(paths.scores(file), spec.scores[name])
        frames.append(rankings_frame(name, scores.queries, scores.groups, scores.score, scores.se, scores.p_top1))
    write_csv(args.output, pd.concat(frames))
    write_record(record_of(args.output), spec, [args.output], seconds=stopwatch.seconds())


if __name__ == "__main__":
    run(main)

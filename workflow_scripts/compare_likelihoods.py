"""Compare differences of likelihood bounds, which are the scores, with those of the likelihood itself."""

from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import LikelihoodTableSpec


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--results", required=True, help="results folder with the likelihoods and the scores")
    parser.add_argument("--output", required=True, help="CSV file to write: one row a method")
    args = parser.parse_args()
    spec = LikelihoodTableSpec.parse(spec_text(args.spec))

    import pandas as pd

    from guda.core.artifacts import write_csv
    from guda.core.paths import Paths, record_of
    from guda.core.records import Stopwatch, write_record
    from guda.evaluation.likelihood_table import likelihood_differences, likelihood_row
    from guda.evaluation.scores import read_scores

    stopwatch, paths, rows = Stopwatch(), Paths(args.results), []
    for method in spec.methods:
        models = spec.models[method]
        queries, likelihoods = likelihood_differences(paths, models, spec.likelihoods)
        scores = read_scores(paths.scores(spec.files[method]), spec.scores[method])
        at_queries = [scores.queries.index(query) for query in queries]
        at_groups = [scores.groups.index(group) for group in models]
        bounds = scores.score[at_queries][:, at_groups]
        rows.append({"method": method} | likelihood_row(bounds, likelihoods, spec.bootstrap_samples, spec.seed))
    write_csv(args.output, pd.DataFrame(rows))
    write_record(record_of(args.output), spec, [args.output], seconds=stopwatch.seconds())


if __name__ == "__main__":
    run(main)

"""Score every group for every query by one method, and sum up the method's cost."""

import sys

from guda.jobs.cli import add_results_arguments, run, spec_text, stage_parser


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--method", required=True, help="a method's name, or logo-SEED for the oracle")
    add_results_arguments(parser, "the method's files")
    parser.add_argument(
        "--output", required=True, help="CSV file to write: query, group, score, se, p_top1_scoring, p_top1, p_none"
    )
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()

    from guda.core.artifacts import write_csv
    from guda.core.paths import Paths
    from guda.core.records import Stopwatch, total_cost, write_record
    from guda.evaluation.scores import scores_frame
    from guda.methods import get_method
    from guda.models import forgetting
    from guda.models.health import read_healths, summary, warn_of

    method, paths = get_method(args.method), Paths(args.results, args.query_set)
    spec = method.parse(spec_text(args.spec))
    stopwatch = Stopwatch()
    scores = method.scores(spec, paths)
    own, needs = stopwatch.elapsed(), method.needs(spec, paths)
    work = {"seconds": own["seconds"], "cpu_seconds": own["cpu_seconds"], "evaluations": scores.evaluations}
    built, asked = (total_cost(records, needs.sizes) for records in (needs.build_records, needs.query_records))
    found = read_healths(paths, method.judged(spec))
    warn_of(args.method, found)
    write_csv(args.output, scores_frame(scores))
    write_record(
        args.record,
        spec,
        [args.output],
        **own,
        evaluations=scores.evaluations,
        **{f"build_{name}": cost for name, cost in built.items()},
        **{f"query_{name}": cost + work[name] for name, cost in asked.items()},
        **scores.details,
        **summary(found),
    )
    groups = scores.details.get("forgetting", {})
    for sentence in forgetting.describe(args.method, groups):
        print(f"warning: {sentence}", file=sys.stderr)
    for sentence in forgetting.unknown(args.method, groups):
        print(sentence, file=sys.stderr)


if __name__ == "__main__":
    run(main)

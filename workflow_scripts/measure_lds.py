"""Measure how well every method's scores, added up, predict models trained on random subsets of the groups."""

from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import LdsSpec


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--results", required=True, help="results folder with rankings and likelihood terms")
    parser.add_argument("--output", required=True, help="CSV file to write: one row a method")
    args = parser.parse_args()
    spec = LdsSpec.parse(spec_text(args.spec))

    import numpy as np

    from guda.core.artifacts import write_csv
    from guda.core.paths import BASE, Paths, record_of, subset_model
    from guda.core.records import Stopwatch, write_record
    from guda.evaluation.lds import kept_matrix, lds_table
    from guda.evaluation.metrics_table import read_rankings, score_matrices
    from guda.evaluation.retrained import read_elbos
    from guda.models.health import read_healths, warn_of, worst_of

    stopwatch, paths = Stopwatch(), Paths(args.results)
    queries, matrices = score_matrices(read_rankings(paths.rankings(), spec.rankings))
    models = {subset_model(spec.settings.seed, index): model for index, model in enumerate(spec.models)}
    elbos = [read_elbos(paths, name, model, spec.buckets, spec.elbo) for name, model in models.items()]
    found = read_healths(paths, {BASE: spec.base} | models)
    warn_of("lds", found)
    table = lds_table(
        {name: matrices[name] for name in spec.methods},
        kept_matrix(spec.groups, spec.settings),
        np.stack([elbo[queries] for elbo in elbos], axis=1),
        spec.settings,
        spec.bootstrap_samples,
        spec.bootstrap_seed,
    )
    write_csv(args.output, table.assign(health_worst=worst_of(health.ratio for health in found.values())))
    write_record(record_of(args.output), spec, [args.output], seconds=stopwatch.seconds())


if __name__ == "__main__":
    run(main)

"""Measure how much worse queries are explained, and how far their images move, without what methods put first."""

from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import RemovalSpec


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--results", required=True, help="results folder with likelihood terms and regenerated images")
    parser.add_argument(
        "--output", required=True, help="CSV file to write: one row per method, unit and number removed"
    )
    args = parser.parse_args()
    spec = RemovalSpec.parse(spec_text(args.spec))

    import numpy as np

    from guda.core.artifacts import read_csv, write_csv
    from guda.core.paths import BASE, Paths, record_of
    from guda.core.records import Stopwatch, check_recorded, write_record
    from guda.evaluation.image_metrics import mse, ssim
    from guda.evaluation.removal import ROW, digest_of, removal_table, worst_by_row
    from guda.evaluation.retrained import read_elbos, read_queries, read_regenerated
    from guda.models.health import read_healths, warn_of

    stopwatch, paths = Stopwatch(), Paths(args.results)
    check_recorded(paths.removal_sets(), spec.sets)
    sets = read_csv(paths.removal_sets())
    ids, images = read_queries(paths, spec.buckets)
    queries = [query for of_bucket in ids.values() for query in of_bucket]
    full = read_elbos(paths, BASE, spec.base, spec.buckets, spec.elbo)

    def moved(name: str) -> dict[str, np.ndarray]:
        model = digest_of(name, spec.train, spec.members)
        rise = (full - read_elbos(paths, name, model, spec.buckets, spec.elbo))[queries].to_numpy()
        if spec.generation is None:
            return {"loss_rise": rise, "mse": np.full(len(queries), np.nan), "ssim": np.full(len(queries), np.nan)}
        again = read_regenerated(paths, name, model, ids, spec.generation)
        return {"loss_rise": rise, "mse": mse(images, again), "ssim": ssim(images, again)}

    table = removal_table(sets, queries, moved, spec.bootstrap_samples, spec.bootstrap_seed)
    models = {name: digest_of(name, spec.train, spec.members) for name in sets["model"].unique()}
    found = read_healths(paths, {BASE: spec.base} | models)
    warn_of("removal", found)
    write_csv(args.output, table.merge(worst_by_row(sets, found), on=ROW))
    write_record(record_of(args.output), spec, [args.output], seconds=stopwatch.seconds())


if __name__ == "__main__":
    run(main)

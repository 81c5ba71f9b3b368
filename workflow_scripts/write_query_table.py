"""Write the table of queries and, unless there are very many, their images as PNG files."""

from pathlib import Path

from guda.core.errors import DataError
from guda.jobs.cli import (
    add_data_argument,
    add_queries_argument,
    add_results_arguments,
    all_settings,
    data_settings,
    queries_settings,
    run,
    spec_text,
    stage_parser,
)
from guda.specs import QueryTableSpec, digest


def main() -> None:
    parser = stage_parser(__doc__)
    add_data_argument(parser)
    add_queries_argument(parser)
    parser.add_argument(
        "--config", default="", metavar="JSON", help="all settings, if queries have metadata beyond their files"
    )
    add_results_arguments(parser, "the buckets of queries")
    args = parser.parse_args()
    spec = QueryTableSpec.parse(spec_text(args.spec))

    import pandas as pd

    from guda.core.artifacts import load_tensors, sha256_file, unpack_ids, write_csv, write_png
    from guda.core.paths import Paths, record_of
    from guda.core.records import Stopwatch, write_record
    from guda.data.queries import PICTURED, given_queries, known_of_queries

    stopwatch, paths, rows = Stopwatch(), Paths(args.results, args.query_set), []
    buckets = {
        bucket: load_tensors(paths.queries(bucket), expected, "np")[0] for bucket, expected in spec.buckets.items()
    }
    pictured = sum(len(tensors["images"]) for tensors in buckets.values()) <= PICTURED
    for bucket, tensors in buckets.items():
        for query, image in zip(unpack_ids(tensors["ids"]), tensors["images"], strict=True):
            row = {"query": query, "bucket": bucket, "file": "", "sha256": ""}
            if pictured:
                file = paths.query_image(query)
                write_png(file, image)
                beside = Path(file).relative_to(Path(paths.query_table()).parent).as_posix()
                row |= {"file": beside, "sha256": sha256_file(file)}
            rows.append(row)
    table = pd.DataFrame(rows).sort_values("query")
    if spec.known is not None:
        if args.config:
            from guda.plan.experiment import Experiment

            known = Experiment(all_settings(args.config)).known_of_queries
        else:
            given = given_queries(data_settings(args.data), queries_settings(args.queries))
            known = None if given is None else known_of_queries(given)
        if known is None or digest(known.to_csv(index=False)) != spec.known:
            raise DataError("the metadata of the queries changed since the workflow was planned; run snakemake again")
        table = table.merge(known, on="query")
    write_csv(paths.query_table(), table)
    write_record(record_of(paths.query_table()), spec, [paths.query_table()], **stopwatch.elapsed())


if __name__ == "__main__":
    run(main)

"""Read one bucket of queries from a folder or from the held-out images."""

from guda.core.errors import DataError
from guda.jobs.cli import (
    add_data_argument,
    add_queries_argument,
    data_settings,
    queries_settings,
    run,
    spec_text,
    stage_parser,
)
from guda.specs import QueryFilesSpec


def main() -> None:
    parser = stage_parser(__doc__)
    add_data_argument(parser)
    add_queries_argument(parser)
    parser.add_argument("--output", required=True, help="safetensors file to write: images and ids")
    args = parser.parse_args()
    spec = QueryFilesSpec.parse(spec_text(args.spec))

    from guda.core.artifacts import pack_ids, save_tensors
    from guda.data.queries import content_digest, given_queries, of_bucket, queries_by_bucket

    settings = queries_settings(args.queries)
    found = given_queries(data_settings(args.data), settings, shape=spec.shape)
    if found is None:
        raise DataError("queries.source is generated; there are no queries to import")
    ids = queries_by_bucket(list(found.table["id"]), spec.buckets, settings.name).get(spec.bucket, [])
    bucket = of_bucket(found, ids)
    if content_digest(bucket) != spec.content:
        raise DataError("the images to attribute changed since the workflow was planned; run snakemake again")
    save_tensors(args.output, {"images": bucket.stream(), "ids": pack_ids(list(bucket.table["id"]))}, spec)


if __name__ == "__main__":
    run(main)

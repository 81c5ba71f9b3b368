"""Read one bucket of the images to attribute from a folder."""

from guda.cli import run, spec_text, stage_parser
from guda.errors import DataError
from guda.specs import QueryFilesSpec, digest_lines


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--folder", required=True, help="folder of the images")
    parser.add_argument("--output", required=True, help="safetensors file to write: images and ids")
    args = parser.parse_args()
    spec = QueryFilesSpec.parse(spec_text(args.spec))

    from guda.artifacts import pack_ids, save_tensors
    from guda.datasets.conversion import Conversion
    from guda.datasets.image_files import read_images
    from guda.queries import LIKE, queries_by_bucket, read_query_digests

    digests = read_query_digests(args.folder)
    ids = queries_by_bucket(list(digests), spec.buckets).get(spec.bucket, [])
    if digest_lines(f"{query} {digests[query]}" for query in ids) != spec.content:
        raise DataError(f"{args.folder}: its images changed since the workflow was planned; run snakemake again")
    channels, height, width = shape = tuple(spec.shape)
    # Planning has refused queries of another shape, unless the configuration says that they be converted.
    conversion = Conversion((height, width), channels)
    images = read_images(args.folder, ids, [digests[query] for query in ids], shape, LIKE, conversion)
    save_tensors(args.output, {"images": images, "ids": pack_ids(ids)}, spec)


if __name__ == "__main__":
    run(main)

"""Write the training images of a dataset: uint8 [N, C, H, W], with their ids."""

from guda.core.errors import DataError
from guda.data.datasets import load_dataset
from guda.jobs.cli import add_data_argument, data_settings, run, spec_text, stage_parser
from guda.specs import ImagesSpec


def main() -> None:
    parser = stage_parser(__doc__)
    add_data_argument(parser)
    parser.add_argument("--output", required=True, help="safetensors file to write")
    args = parser.parse_args()
    spec = ImagesSpec.parse(spec_text(args.spec))

    from guda.core.artifacts import pack_ids, save_tensors

    dataset = load_dataset(data_settings(args.data))
    if dataset.images_spec() != spec:
        raise DataError(f"dataset {spec.dataset!r} changed since the workflow was planned; run snakemake again")
    save_tensors(args.output, {"images": dataset.stream(), "ids": pack_ids(list(dataset.table["id"]))}, spec)


if __name__ == "__main__":
    run(main)

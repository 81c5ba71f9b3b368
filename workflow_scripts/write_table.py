"""Write the training table of a dataset: one row per image, with id, sha256 and the columns that define groups."""

from guda.core.artifacts import write_csv
from guda.core.errors import DataError
from guda.core.paths import record_of
from guda.core.records import Stopwatch, write_record
from guda.data.datasets import load_dataset
from guda.jobs.cli import add_data_argument, data_settings, run, spec_text, stage_parser
from guda.specs import TableSpec


def main() -> None:
    parser = stage_parser(__doc__)
    add_data_argument(parser)
    parser.add_argument("--output", required=True, help="CSV file to write")
    args = parser.parse_args()
    spec = TableSpec.parse(spec_text(args.spec))

    stopwatch = Stopwatch()
    dataset = load_dataset(data_settings(args.data))
    if dataset.table_spec() != spec:
        raise DataError(f"dataset {spec.dataset!r} changed since the workflow was planned; run snakemake again")
    write_csv(args.output, dataset.table)
    write_record(record_of(args.output), spec, [args.output], **stopwatch.elapsed())


if __name__ == "__main__":
    run(main)

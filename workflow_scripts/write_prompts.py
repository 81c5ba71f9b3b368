"""Write the prompts of a set of images, or of the anchors, as a table."""

from guda.core.errors import DataError
from guda.jobs.cli import all_settings, run, spec_text, stage_parser
from guda.specs import PromptsSpec, digest


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--config", required=True, metavar="JSON", help="the whole configuration")
    parser.add_argument(
        "--samples", required=True, help="training, calibration, anchors, or the name of a bucket of queries"
    )
    parser.add_argument("--output", required=True, help="CSV file to write, with its record beside it")
    args = parser.parse_args()
    spec = PromptsSpec.parse(spec_text(args.spec))

    from guda.core.artifacts import write_csv
    from guda.core.paths import record_of
    from guda.core.records import Stopwatch, write_record
    from guda.plan.experiment import Experiment

    stopwatch = Stopwatch()
    prompts = Experiment(all_settings(args.config)).fine_tuned.prompts(args.samples)
    if digest(prompts.to_csv(index=False)) != spec.content:
        raise DataError("the prompts changed since the workflow was planned; run snakemake again")
    write_csv(args.output, prompts)
    write_record(record_of(args.output), spec, [args.output], **stopwatch.elapsed())


if __name__ == "__main__":
    run(main)

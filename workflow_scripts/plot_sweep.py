"""Draw the agreement of every variant with every seed of the oracle."""

from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import SweepFigureSpec


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--table", required=True, help="table of variants (measure_sweep.py)")
    parser.add_argument("--output", required=True, help="PNG file to write")
    args = parser.parse_args()
    spec = SweepFigureSpec.parse(spec_text(args.spec))

    from guda.core.artifacts import read_csv, replacing
    from guda.core.paths import record_of
    from guda.core.records import Stopwatch, check_recorded, write_record
    from guda.report.sweep import sweep_figure

    stopwatch = Stopwatch()
    check_recorded(args.table, spec.sweep)
    figure = sweep_figure(read_csv(args.table, numbers=("top1", "top1_low", "top1_high")))
    with replacing(args.output) as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Software": None})
    write_record(record_of(args.output), spec, [args.output], seconds=stopwatch.seconds())


if __name__ == "__main__":
    run(main)

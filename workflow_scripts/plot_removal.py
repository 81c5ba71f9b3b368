"""Draw how much the loss of a query rises with the number of groups, or of images, that are removed."""

from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import RemovalFigureSpec


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--results", required=True, help="results folder with removal.csv")
    parser.add_argument("--output", required=True, help="PNG file to write")
    args = parser.parse_args()
    spec = RemovalFigureSpec.parse(spec_text(args.spec))

    from guda.core.artifacts import read_csv, replacing
    from guda.core.paths import Paths, record_of
    from guda.core.records import Stopwatch, check_recorded, write_record
    from guda.report.removal import NUMBERS, removal_figure

    stopwatch, table = Stopwatch(), Paths(args.results).removal()
    check_recorded(table, spec.removal)
    figure = removal_figure(read_csv(table, numbers=NUMBERS))
    with replacing(args.output) as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Software": None})
    write_record(record_of(args.output), spec, [args.output], seconds=stopwatch.seconds())


if __name__ == "__main__":
    run(main)

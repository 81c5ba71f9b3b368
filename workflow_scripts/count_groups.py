"""Count the training images of each group, and those that are in no other."""

from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import GroupSizesSpec


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--results", required=True, help="results folder with the groups' files")
    parser.add_argument("--output", required=True, help="CSV file to write: one row per group")
    args = parser.parse_args()
    spec = GroupSizesSpec.parse(spec_text(args.spec))

    from guda.core.artifacts import write_csv
    from guda.core.paths import Paths, record_of
    from guda.core.records import Stopwatch, write_record
    from guda.data.groups import group_sizes, read_members

    stopwatch, paths = Stopwatch(), Paths(args.results)
    groups = {group: read_members(paths.group(group), expected) for group, expected in spec.members.items()}
    write_csv(args.output, group_sizes(groups))
    write_record(record_of(args.output), spec, [args.output], seconds=stopwatch.seconds())


if __name__ == "__main__":
    run(main)

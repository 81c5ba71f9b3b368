"""Write the members of one group: a JSON file with the ids of its training images."""

from guda.data.datasets import load_dataset
from guda.data.groups import read_groups, write_members
from guda.jobs.cli import add_data_argument, data_settings, run, spec_text, stage_parser
from guda.specs import GroupSpec


def main() -> None:
    parser = stage_parser(__doc__)
    add_data_argument(parser)
    parser.add_argument("--output", required=True, help="JSON file to write")
    args = parser.parse_args()
    spec = GroupSpec.parse(spec_text(args.spec))

    settings = data_settings(args.data)
    members = read_groups(load_dataset(settings).table, settings)
    write_members(args.output, spec, members.get(spec.group, []))


if __name__ == "__main__":
    run(main)

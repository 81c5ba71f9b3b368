"""Write the images that a model is trained without: those of some groups, or a set from choose_removals.py."""

from guda.core.errors import ArtifactError, GudaError
from guda.data.groups import read_members, write_members
from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import ExclusionSpec


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--groups", nargs="+", metavar="FILE", help="members of these groups (write_group.py)")
    parser.add_argument("--sets", metavar="FILE", help="sets (choose_removals.py) that include the spec's set")
    parser.add_argument("--output", required=True, help="JSON file to write")
    args = parser.parse_args()
    spec = ExclusionSpec.parse(spec_text(args.spec))

    if bool(args.groups) == bool(args.sets):
        raise GudaError("give either --groups or --sets")

    from guda.core.artifacts import CURE, read_json

    if args.groups:
        members = sorted(set().union(*(read_members(file, None) for file in args.groups)))
    else:
        sets = read_json(args.sets)
        if not isinstance(sets, dict) or spec.members not in sets:
            raise ArtifactError(f"{args.sets}: lacks the set {spec.members}. {CURE}")
        members = sets[spec.members]
    write_members(args.output, spec, members)


if __name__ == "__main__":
    run(main)

"""Choose what to remove for each query: each method's top groups or images, and as many at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guda.jobs.cli import add_results_arguments, run, spec_text, stage_parser
from guda.specs import RemovalSetsSpec

if TYPE_CHECKING:
    from guda.evaluation.removal import Removed


def main() -> None:
    parser = stage_parser(__doc__)
    add_results_arguments(parser, "rankings and what methods read")
    parser.add_argument("--output", required=True, help="CSV file to write: one row per removal, with its model")
    parser.add_argument("--members", required=True, help="JSON file to write: the images of each set to train without")
    args = parser.parse_args()
    spec = RemovalSetsSpec.parse(spec_text(args.spec))

    from guda.core.artifacts import load_tensors, unpack_ids, write_csv, write_json
    from guda.core.paths import Paths, record_of
    from guda.core.records import Stopwatch, read_record, write_record
    from guda.core.seeding import chosen
    from guda.data.groups import read_members
    from guda.evaluation.metrics_table import read_rankings
    from guda.evaluation.removal import GROUPS, IMAGES, at_random, removal_sets, top_groups, top_images
    from guda.methods import method_of
    from guda.methods.instance import InstanceLevel
    from guda.specs import RankingsSpec

    stopwatch, paths, settings = Stopwatch(), Paths(args.results, args.query_set), spec.settings
    rankings = read_rankings(paths.rankings(), spec.rankings)
    ranked = RankingsSpec.parse(read_record(record_of(paths.rankings()), spec.rankings)["spec"])
    train_ids = unpack_ids(load_tensors(paths.images(), spec.images, "np")[0]["ids"])
    members = {group: read_members(paths.group(group), expected) for group, expected in spec.members.items()}
    queries = sorted(rankings["query"].unique())
    queries = [queries[row] for row in chosen(queries, settings.queries, "removal", settings.seed)]

    removals: list[Removed] = []
    if settings.groups:
        for name in spec.methods:
            removals += top_groups(rankings, name, queries, settings.groups)
        removals += at_random(list(members), GROUPS, queries, settings.groups, settings.seed)
    if settings.images:
        for name in spec.instance_level:
            method = method_of(InstanceLevel, ranked.files[name])
            recorded = read_record(paths.scores_record(ranked.files[name]), ranked.scores[name])
            scored = method.parse(recorded["spec"])
            blocks = method.instance_scores(scored, paths)
            removals += top_images(blocks, method.train_ids(scored, paths), name, queries, settings.images)
        removals += at_random(train_ids, IMAGES, queries, settings.images, settings.seed)
    frame, sets = removal_sets(removals, members, len(train_ids), spec.oracle_seed)
    write_json(args.members, sets)
    write_csv(args.output, frame)
    write_record(record_of(args.output), spec, [args.output, args.members], **stopwatch.elapsed())


if __name__ == "__main__":
    run(main)

"""Measure apart the queries whose content has a single group as its source, and those of shared contents.

A query's content is what its own table says, else that of its nearest training images, by majority in pixel space.
"""

from guda.jobs.cli import run, spec_text, stage_parser
from guda.specs import SourcesSpec


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--results", required=True, help="results folder")
    parser.add_argument("--output", required=True, help="CSV file to write: one row per source and method")
    args = parser.parse_args()
    spec = SourcesSpec.parse(spec_text(args.spec))

    import numpy as np
    import pandas as pd

    from guda.core.artifacts import load_tensors, read_csv, unpack_ids, write_csv
    from guda.core.paths import Paths, record_of
    from guda.core.records import Stopwatch, check_recorded, write_record
    from guda.data.groups import read_members
    from guda.evaluation.metrics_table import (
        VOTERS,
        metrics_table,
        read_costs,
        read_rankings,
        score_matrices,
        sources_of_content,
        vote,
    )
    from guda.methods.similarity.compute import similarities

    stopwatch, paths, metrics = Stopwatch(), Paths(args.results), spec.metrics
    content = metrics.settings.content
    check_recorded(paths.table(), spec.table)
    table = read_csv(paths.table())
    groups = {group: read_members(paths.group(group), expected) for group, expected in spec.members.items()}
    sources = sources_of_content(table, content, groups)

    images = load_tensors(paths.images(), spec.images, "np")[0]["images"]
    content_of = {}
    for bucket, expected in spec.buckets.items():
        tensors, _ = load_tensors(paths.queries(bucket), expected, "np")
        blocks = similarities(tensors["images"], images, "euclidean")
        nearest = [np.argsort(-similar, kind="stable")[:VOTERS] for block in blocks for similar in block]
        winners = vote(np.stack(nearest), table[content].to_numpy())
        content_of |= dict(zip(unpack_ids(tensors["ids"]), winners, strict=True))

    if spec.query_table is not None:
        check_recorded(paths.query_table(), spec.query_table)
        known = read_csv(paths.query_table())
        content_of |= {query: value for query, value in zip(known["query"], known[content], strict=True) if value}

    queries, matrices = score_matrices(read_rankings(paths.rankings(), metrics.rankings))
    source = np.array([sources.get(content_of[query], "none") for query in queries])
    costs, tables = read_costs(metrics, paths), []
    for name in sorted(set(source), reverse=True):
        rows = metrics_table(matrices, metrics.oracles, metrics.methods, costs, metrics.settings, source == name)
        rows.insert(0, "source", name)
        tables.append(rows)
    write_csv(args.output, pd.concat(tables))
    write_record(record_of(args.output), spec, [args.output], seconds=stopwatch.seconds())


if __name__ == "__main__":
    run(main)

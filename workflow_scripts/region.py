"""Score the groups on part of one image: which group is this region attributable to?

    python workflow_scripts/region.py --results results --query query-000017 --box 0,0,4,8
    python workflow_scripts/region.py --results results --query query-000017 --mask region.png --output region.csv

The models behind the method's scores are evaluated again with the same noise. The output is CSV with one row per
group: the `score` of the region in nats with its standard error `se`, the probability `p_top1_scoring` that the group
is first with other noise, the score of the `whole` image, and the region's `share` of it. Scores are not calibrated.
For text-to-image models, regions are given in latent cells.
"""

import argparse
import sys

from guda.jobs.cli import add_network_arguments, add_results_arguments, device_of, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_results_arguments(parser, "the scores and the models")
    parser.add_argument("--query", required=True, metavar="ID", help="the image's id in queries.csv")
    region = parser.add_mutually_exclusive_group(required=True)
    region.add_argument(
        "--box", metavar="LEFT,TOP,RIGHT,BOTTOM", help="in pixels from 0; RIGHT and BOTTOM are exclusive"
    )
    region.add_argument("--mask", metavar="FILE", help="image of the same size, white inside the region")
    parser.add_argument(
        "--method",
        default="guda",
        help="method whose models to use: one that unlearns, proxy, or logo-SEED (default: %(default)s)",
    )
    parser.add_argument("--output", help="CSV file to write (default: standard output)")
    add_network_arguments(parser)
    args = parser.parse_args()
    device = device_of(args)

    import numpy as np

    from guda.core.artifacts import write_csv
    from guda.core.paths import Paths
    from guda.jobs.region import box_region, found_query, mask_region, scores_of_region, scores_spec, terms_of_parts

    paths = Paths(args.results, args.query_set)
    spec = scores_spec(paths, args.method)
    samples, row = found_query(paths, spec, args.query)
    height, width = samples.images.shape[2:]
    unit = "pixels" if samples.captions is None else "latent cells"
    chosen = box_region(args.box, height, width, unit) if args.box else mask_region(args.mask, height, width, unit)
    print(f"{chosen.sum()} of {chosen.size} {unit}; scores are not calibrated", file=sys.stderr)
    parts = np.stack([chosen, np.ones_like(chosen)])
    within, whole = terms_of_parts(paths, spec, samples, row, parts, device, args.execution.batch_size)
    table = scores_of_region(list(spec.runs[0].models), within, whole)
    if args.output:
        write_csv(args.output, table)
    else:
        table.to_csv(sys.stdout, index=False)


if __name__ == "__main__":
    run(main)

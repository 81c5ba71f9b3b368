"""Score the groups on a part of one image: which of them does this region owe itself to?

    python workflow_scripts/region.py --results results --query query-000017 --box 0,0,4,8
    python workflow_scripts/region.py --results results --query query-000017 --mask region.png --output region.csv

The models of the method's scores are asked again, with the same noise. What is written is CSV, a row a group: the
`score` of the region in nats with its standard error `se`, the probability `p_top1_scoring` that the group is first
with other noise, the score of the `whole` image, and the region's `share` of it. Nothing is calibrated. Regions of
text-to-image models are of latent cells.
"""

import argparse
import sys

from guda.jobs.cli import add_network_arguments, add_results_arguments, device_of, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_results_arguments(parser, "the scores and the models")
    parser.add_argument("--query", required=True, metavar="ID", help="which image, by its id in queries.csv")
    region = parser.add_mutually_exclusive_group(required=True)
    region.add_argument("--box", metavar="LEFT,TOP,RIGHT,BOTTOM", help="pixels from 0; RIGHT and BOTTOM lie outside")
    region.add_argument("--mask", metavar="FILE", help="image of the same size, white where the region is")
    parser.add_argument("--method", default="guda", help="whose models: one that unlearns, or logo-SEED (%(default)s)")
    parser.add_argument("--output", help="CSV file to write, instead of to standard output")
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

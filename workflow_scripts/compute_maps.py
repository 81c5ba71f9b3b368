"""Map where in some images the evidence for each of their top groups lies."""

from guda.jobs.cli import add_results_arguments, device_of, run, spec_text, stage_parser
from guda.specs import MapsSpec


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    add_results_arguments(parser, "the rankings and the models")
    parser.add_argument("--samples", nargs="+", required=True, help="the images' buckets, in the spec's order")
    parser.add_argument("--adapters", action="store_true", help="the models are adapters of the base model")
    parser.add_argument("--output", required=True, help="safetensors file to write: maps, p, ids, groups")
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()
    spec = MapsSpec.parse(spec_text(args.spec))
    device = device_of(args)

    import numpy as np

    from guda.core.artifacts import pack_ids, save_tensors
    from guda.core.device import costs
    from guda.core.paths import BASE, Paths
    from guda.core.records import Stopwatch, write_record
    from guda.core.seeding import derive_seed
    from guda.data.training_set import read_training_set
    from guda.evaluation.metrics_table import read_rankings
    from guda.evaluation.ranking import first_groups
    from guda.jobs.drawing import opened_model
    from guda.models.noise_schedule import step_weights
    from guda.scoring.local import beyond_noise, kl_maps, smoothed

    paths, steps = Paths(args.results, args.query_set), np.array(spec.elbo.steps)
    weights = step_weights(steps, spec.elbo.first, spec.elbo.last)
    wanted = first_groups(read_rankings(paths.rankings(), spec.rankings), spec.method, spec.ids, spec.groups)
    samples = [
        read_training_set(file, spec.samples[name]) for file, name in zip(args.samples, spec.samples, strict=True)
    ]
    seeds, stopwatch = [derive_seed("maps", spec.elbo.seed, draw) for draw in range(spec.noises)], Stopwatch()

    def mapped(name: str, digest: str, ids: set[str]) -> dict[str, np.ndarray]:
        """Maps of each image under a model, [noises, H, W]."""
        adapters = args.adapters and name != BASE
        denoiser = opened_model(paths, name, digest, spec.elbo.noise_schedule, adapters).to(device)
        found: dict[str, np.ndarray] = {}
        for bucket in samples:
            rows = [row for row, query in enumerate(bucket.ids) if query in ids]
            if rows:
                conditioned, queries = (
                    denoiser.conditioned_on(bucket.conditions(rows)),
                    [bucket.ids[row] for row in rows],
                )
                how = bucket.images[rows], queries, steps, weights
                drawn = [kl_maps(conditioned, *how, seed, args.execution.batch_size) for seed in seeds]
                found |= dict(zip(queries, np.stack(drawn, axis=1), strict=True))
        return found

    full = mapped(BASE, spec.base, set(spec.ids))
    maps, p, ids, groups = [], [], [], []
    for group, name in spec.model_names.items():
        asked = {query for query in spec.ids if group in wanted[query]}
        for query, without in (mapped(name, spec.models[group], asked) if asked else {}).items():
            difference = smoothed(without - full[query], min(without.shape[1:]) / 16)
            maps.append(difference.mean(axis=0))
            p.append(beyond_noise(difference))
            ids.append(query)
            groups.append(group)
    evaluations = (len(full) + len(ids)) * len(seeds) * len(steps)
    elapsed = stopwatch.elapsed()
    tensors = {"maps": np.stack(maps).astype(np.float32), "p": np.stack(p).astype(np.float32)}
    save_tensors(args.output, {**tensors, "ids": pack_ids(ids), "groups": pack_ids(groups)}, spec)
    write_record(args.record, spec, [args.output], **costs(device, evaluations, elapsed))


if __name__ == "__main__":
    run(main)

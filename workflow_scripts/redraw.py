"""Regenerate some queries from the same noise with the models without each of their top groups."""

from guda.jobs.cli import add_results_arguments, device_of, run, spec_text, stage_parser
from guda.specs import RedrawnSpec


def main() -> None:
    parser = stage_parser(__doc__, network=True)
    add_results_arguments(parser, "the rankings and the models")
    parser.add_argument(
        "--pipeline", default="", help="pipeline that decodes latents: a diffusers folder, or OWNER/NAME@COMMIT"
    )
    parser.add_argument("--prompts", nargs="*", help="the queries' prompts (write_prompts.py), if they have any")
    parser.add_argument("--adapters", action="store_true", help="the models are adapters of the base model")
    parser.add_argument("--output", required=True, help="safetensors file to write: images, ids, groups")
    parser.add_argument("--record", required=True, help="JSON file to write the cost to")
    args = parser.parse_args()
    spec = RedrawnSpec.parse(spec_text(args.spec))
    device = device_of(args)

    import torch

    from guda.core.artifacts import pack_ids, save_tensors
    from guda.core.device import costs
    from guda.core.paths import Paths
    from guda.core.records import Stopwatch, write_record
    from guda.evaluation.metrics_table import read_rankings
    from guda.evaluation.ranking import first_groups
    from guda.jobs.drawing import draw, opened, opened_model

    paths = Paths(args.results, args.query_set)
    rankings = read_rankings(paths.rankings(), spec.rankings)
    wanted = first_groups(rankings, spec.method, [query for each in spec.queries for query in each.ids], spec.groups)
    pipeline, stopwatch = opened(spec.queries[0], args.pipeline, device), Stopwatch()
    images, ids, groups, steps = [], [], [], 0
    for group, name in spec.model_names.items():
        asked = [[query for query in each.ids if group in wanted[query]] for each in spec.queries]
        if not any(asked):
            continue
        denoiser = opened_model(paths, name, spec.models[group], spec.queries[0].noise_schedule, args.adapters)
        denoiser.to(device)
        for each, queries, prompts in zip(spec.queries, asked, args.prompts or [None] * len(asked), strict=True):
            if queries:
                images.append(draw(denoiser, each, queries, pipeline, prompts))
                ids += queries
                groups += [group] * len(queries)
                steps += each.sampling_steps * len(queries)
    elapsed = stopwatch.elapsed()
    packed = {"ids": pack_ids(ids), "groups": pack_ids(groups)}
    save_tensors(args.output, {"images": torch.cat(images), **packed}, spec)
    write_record(args.record, spec, [args.output], **costs(device, steps, elapsed))


if __name__ == "__main__":
    run(main)

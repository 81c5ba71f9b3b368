"""Import a model that was trained or unlearned elsewhere, from a diffusers folder or a pinned hub id."""

from guda.jobs.cli import imported_model, run, spec_text, stage_parser
from guda.specs import ImportedModelSpec, ImportedUNetSpec, parse_any


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--name", required=True, help="the model's name under models/")
    parser.add_argument(
        "--imports",
        required=True,
        metavar="JSON",
        help="by name: the source (diffusers folder, or hub id OWNER/NAME@COMMIT) and its config key",
    )
    parser.add_argument("--samples", required=True, help="training images, possibly encoded, to check the model on")
    parser.add_argument(
        "--group", nargs="?", help="members of the group that the model has unlearned (write_group.py), if any"
    )
    parser.add_argument("--pipeline", default="", help="for a text-to-image model, its pipeline: a folder or a hub id")
    parser.add_argument("--model", required=True, help="diffusers folder to write")
    args = parser.parse_args()
    spec = parse_any([ImportedModelSpec, ImportedUNetSpec], spec_text(args.spec))

    from guda.core.artifacts import tensor_shapes
    from guda.core.errors import ArtifactError
    from guda.core.paths import RECORD
    from guda.core.records import Stopwatch, write_record
    from guda.data.training_set import read_training_set
    from guda.models.denoisers import UNetDenoiser, load_imported_denoiser, save_denoiser
    from guda.models.imported import fetched, source_digest
    from guda.models.stable_diffusion.pipeline import imported_denoiser
    from guda.scoring.probe import measured

    source, key = imported_model(args.imports, args.name)
    stopwatch = Stopwatch()
    if source_digest(source, key) != spec.content:
        raise ArtifactError(f"{key}: {source} changed since the workflow was planned; run snakemake again")
    denoiser: UNetDenoiser
    if isinstance(spec, ImportedUNetSpec):
        *_, height, width = tensor_shapes(args.samples)["latents"]
        denoiser = imported_denoiser(fetched(source, key), key, spec, args.pipeline, (height, width))
    else:
        denoiser = load_imported_denoiser(fetched(source, key), spec, key)
    elapsed = stopwatch.elapsed()
    training_set = read_training_set(args.samples)
    health = measured(denoiser, spec, training_set, training_set.in_group(args.group) if args.group else None)
    written = save_denoiser(args.model, denoiser, spec)
    write_record(f"{args.model}/{RECORD}", spec, written, health=health, **elapsed)


if __name__ == "__main__":
    run(main)

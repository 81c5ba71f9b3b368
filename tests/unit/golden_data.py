"""What the stages of data give on the fixed inputs."""

import sys

import pytest
import torch
from golden_inputs import IDS, IMAGES, MEMBERS, SCHEDULE, fixed_denoiser, run_stage, save_groups, save_images

import generate as generate_queries
import import_queries
import make_table
import sample_calibration
import write_exclusion
from guda import config, specs
from guda.core.artifacts import load_tensors, read_csv, unpack_ids, write_png
from guda.core.paths import WEIGHTS, Paths
from guda.data.datasets import load_dataset
from guda.data.groups import read_groups, read_members
from guda.data.queries import content_digest, given_queries, of_bucket, queries_by_bucket
from guda.models.denoisers import save_denoiser
from guda.models.sampling import generate
from guda.specs import digest_lines
from guda.unlearning.retrack.neighbors import nearest_retained


def images(tmp_path):
    return [load_dataset(config.Data()).images_spec().content]


def table(tmp_path):
    return [load_dataset(config.Data()).table_spec().content]


def group(tmp_path):
    groups = read_groups(load_dataset(config.Data()).table, config.Data(groups=["amber", "dune"]))
    return [value for members in groups.values() for value in (len(members), digest_lines(members))]


def neighbors(tmp_path):
    forget = torch.tensor([name in MEMBERS["a"] for name in IDS])
    rows, distances = nearest_retained(torch.from_numpy(IMAGES), forget, 2)
    return [*rows.flatten().tolist(), *distances[:2].flatten().tolist()]


def sizes(tmp_path):
    spec = specs.GroupSizesSpec(members=save_groups(Paths(tmp_path)))
    run_stage(make_table, spec=spec.canonical(), results=tmp_path, output=tmp_path / "groups.csv")
    return read_csv(tmp_path / "groups.csv", numbers=("n_images", "n_alone")).to_numpy().ravel().tolist()


def query_files(tmp_path):
    folder, bucket = tmp_path / "files", "bucket-0001"
    for name, image in zip(IDS, IMAGES, strict=True):
        write_png(folder / f"{name}.png", image)
    ids = queries_by_bucket(sorted(f"{name}.png" for name in IDS), 2)[bucket]
    data, settings = config.Data(), config.Queries(folder=str(folder), buckets=2)
    content = content_digest(of_bucket(given_queries(data, settings), ids))
    spec = specs.QueryFilesSpec(bucket=bucket, buckets=2, shape=[1, 8, 8], content=content)
    sections = {"data": data.model_dump_json(), "queries": settings.model_dump_json()}
    run_stage(import_queries, spec=spec.canonical(), **sections, output=tmp_path / "bucket")
    tensors, _ = load_tensors(tmp_path / "bucket", spec.digest())
    return [*unpack_ids(tensors["ids"]), *tensors["images"].double().mean((1, 2, 3)).tolist()]


def queries(tmp_path):
    generated = generate(fixed_denoiser(), SCHEDULE, ["q0", "q1"], 7, 4, "ddim").double()
    return [*generated.mean((1, 2, 3)).tolist(), *generated.std((1, 2, 3)).tolist()]


def exemplar_queries(tmp_path):
    """Two models, each from a folder of its own, the second of which has all weights 0."""
    shared = {"noise_schedule": SCHEDULE, "seed": 7, "sampler": "ddim", "sampling_steps": 4}
    training, parts, weights = config.Training(), {}, []
    for group, ids in {"a": ["q0"], "b": ["q1", "q2"]}.items():
        denoiser = fixed_denoiser()
        for parameter in denoiser.parameters() if group == "b" else []:
            parameter.data.zero_()
        made = specs.TunedSpec(base="b", images="i", exemplars=ids, noise_schedule=SCHEDULE, training=training)
        save_denoiser(tmp_path / group, denoiser, made)
        parts[group] = specs.QueriesSpec(base=made.digest(), ids=ids, **shared)
        weights.append(str(tmp_path / group / WEIGHTS))
    spec = specs.ExemplarQueriesSpec(of_groups=parts)
    with pytest.MonkeyPatch.context() as patch:
        flags = ["--spec", spec.canonical(), "--output", str(tmp_path / "bucket")]
        patch.setattr(sys, "argv", ["generate", *flags, "--weights", *weights])
        generate_queries.main()
    tensors, _ = load_tensors(tmp_path / "bucket", spec.digest())
    return [*unpack_ids(tensors["ids"]), *tensors["images"].double().mean((1, 2, 3)).tolist()]


def calibration(tmp_path):
    images_spec = specs.ImagesSpec(dataset="d", content="c")
    save_images(tmp_path / "images", images_spec, IMAGES, IDS)
    spec = specs.CalibrationSpec(images=images_spec.digest(), count=4, seed=1)
    run_stage(sample_calibration, spec=spec.canonical(), images=tmp_path / "images", output=tmp_path / "chosen")
    tensors, _ = load_tensors(tmp_path / "chosen", spec.digest())
    return [*unpack_ids(tensors["ids"]), tensors["images"].double().mean().item()]


def exclusion(tmp_path):
    """The images of both groups, which is what a set of removed images may be too."""
    paths, spec = Paths(tmp_path), specs.ExclusionSpec(members=digest_lines(IDS[:7]))
    save_groups(paths)
    files = [paths.group(group) for group in MEMBERS]
    with pytest.MonkeyPatch.context() as patch:
        flags = ["--spec", spec.canonical(), "--output", str(tmp_path / "out")]
        patch.setattr(sys, "argv", ["write_exclusion", *flags, "--groups", *files])
        write_exclusion.main()
    return [spec.digest(), *sorted(read_members(tmp_path / "out", spec.digest()))]


STAGES = {
    specs.ImagesSpec: images,
    specs.TableSpec: table,
    specs.GroupSpec: group,
    specs.NeighborsSpec: neighbors,
    specs.GroupSizesSpec: sizes,
    specs.QueriesSpec: queries,
    specs.ExemplarQueriesSpec: exemplar_queries,
    specs.QueryFilesSpec: query_files,
    specs.CalibrationSpec: calibration,
    specs.ExclusionSpec: exclusion,
}
# Each stage's version with its numbers.
GOLDEN = {
    specs.ImagesSpec: (1, ["a95be490cd15bf779add"]),
    specs.TableSpec: (1, ["e6ae98ec5b3fffb9ccd5"]),
    specs.GroupSpec: (1, [360, "eaab8316398c8f331109", 241, "9d92d5b71f757a6cd7b7"]),
    specs.NeighborsSpec: (1, [5, 9, 9, 4, 10, 7, 8, 6, 5.53266, 6.50048, 4.93651, 5.93387]),
    specs.GroupSizesSpec: (1, ["a", 4, 4, "b", 3, 3]),
    specs.QueriesSpec: (1, [80.5469, 64.3594, 95.6143, 89.2687]),
    specs.ExemplarQueriesSpec: (1, ["q0", "q1", "q2", 80.5469, 127.5, 115.547]),
    specs.QueryFilesSpec: (1, [*(f"i{index:02d}.png" for index in (0, 1, 2, 3, 7, 9, 10, 11)),
        139.578, 122.672, 123.344, 137.672, 135.453, 122.156, 126.188, 139.953]),
    specs.CalibrationSpec: (1, ["i00", "i04", "i06", "i10", 135.266]),
    specs.ExclusionSpec: (1, ["24174d39921b0c58e242", *IDS[:7]]),
}  # fmt: skip

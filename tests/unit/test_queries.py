"""Queries that are not generated: images in a folder, with what is known of them, and images held out of training."""

import hashlib
import shutil
import sys

import numpy as np
import pytest
from golden_inputs import run_stage
from PIL import Image

import import_queries
import write_query_table
from guda.core.artifacts import load_tensors, pack_ids, read_csv, save_tensors, unpack_ids
from guda.core.errors import ConfigError, DataError
from guda.core.paths import BASE, Paths
from guda.data import queries as queries_module
from guda.data.queries import queries_by_bucket
from guda.methods.random.plan import RandomSpec
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.plan.reports import final_outputs, rankings_spec, sources_spec
from guda.specs import QueryTableSpec


def pixels(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def draw(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


# --- queries from a folder ---------------------------------------------------------------------------


@pytest.fixture
def queries(tmp_path):
    for index in range(12):
        draw(tmp_path / "queries" / f"q{index:02d}.png", pixels(8, 8, seed=index))
    return tmp_path / "queries"


def experiment(queries, buckets=4):
    return Experiment(load_config({"queries": {"folder": str(queries), "buckets": buckets}}))


def test_queries_are_the_files_spread_over_buckets(queries):
    of = experiment(queries)
    assert of.queries == [f"q{index:02d}.png" for index in range(12)]
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in queries.iterdir()}
    assert dict(of.given_queries.table[["id", "sha256"]].itertuples(index=False)) == digests
    assert of.buckets == queries_by_bucket(of.queries, 4)
    assert len(of.buckets) > 2


@pytest.mark.parametrize("change", ["painted over", "added", "removed"])
def test_a_changed_file_changes_the_specs_of_its_bucket_only(queries, change):
    before = experiment(queries)
    name = "new.png" if change == "added" else "q05.png"
    if change == "removed":
        (queries / name).unlink()
    else:
        draw(queries / name, pixels(8, 8, seed=99))
    after = experiment(queries)
    (touched,) = queries_by_bucket([name], 4)
    assert before.buckets.keys() == after.buckets.keys()
    for bucket in before.buckets:
        same = bucket != touched
        assert (before.bucket_spec(bucket) == after.bucket_spec(bucket)) == same
        assert (before.elbo_spec(BASE, bucket) == after.elbo_spec(BASE, bucket)) == same
    assert before.model_spec(BASE) == after.model_spec(BASE)
    assert rankings_spec(before) != rankings_spec(after)


def call(stage, of, spec, **flags):
    """Run a stage program on a spec of the experiment, in this process."""
    sections = {"data": of.config.data.model_dump_json(), "queries": of.config.queries.model_dump_json()}
    arguments = [text for flag, value in (sections | flags).items() for text in (f"--{flag}", str(value))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["x", "--spec", spec.canonical(), *arguments])
        stage.main()


def test_the_buckets_that_are_read_hold_the_images(queries, tmp_path):
    of = experiment(queries)
    for bucket, ids in of.buckets.items():
        call(import_queries, of, of.bucket_spec(bucket), output=tmp_path / bucket)
        tensors, _ = load_tensors(tmp_path / bucket, of.bucket_spec(bucket).digest())
        assert unpack_ids(tensors["ids"]) == ids
        expected = np.stack([pixels(8, 8, seed=int(query[1:3])) for query in ids])[:, None]
        assert np.array_equal(tensors["images"].numpy(), expected)


def test_queries_that_changed_after_planning_are_refused(queries, tmp_path):
    of = experiment(queries)
    (bucket,) = queries_by_bucket(["q05.png"], 4)
    draw(queries / "q05.png", pixels(8, 8, seed=99))
    with pytest.raises(DataError, match="images to attribute changed since the workflow was planned"):
        call(import_queries, of, of.bucket_spec(bucket), output=tmp_path / "bucket")
    assert not (tmp_path / "bucket").exists()


def test_queries_of_another_size_are_refused_by_name_before_anything_is_made(queries):
    draw(queries / "q05.png", pixels(9, 8))
    with pytest.raises(
        DataError, match=r"q05\.png: gray with 8x9 pixels, but a training image is gray with 8x8 pixels"
    ):
        experiment(queries, buckets=1)


def test_no_folder_of_queries_is_refused(tmp_path):
    with pytest.raises((ConfigError, DataError), match=r"^queries\.folder: .* is not a folder"):
        experiment(tmp_path / "absent")


# --- what is known of queries ------------------------------------------------------------------------


def table_of_queries(of, tmp_path):
    """queries.csv as the stages make it."""
    results = tmp_path / "results"
    for bucket in of.buckets:
        call(import_queries, of, of.bucket_spec(bucket), output=results / "queries" / f"{bucket}.safetensors")
    call(write_query_table, of, of.query_table_spec(), results=results)
    return read_csv(results / "queries" / "queries.csv")


def test_the_table_of_queries_takes_over_what_is_known(queries, tmp_path):
    table = tmp_path / "known.csv"
    table.write_text("file,label,year\nq03.png,3,1990\nq01.png,1,\n")
    of = Experiment(load_config({"queries": {"folder": str(queries), "table": str(table)}}))
    assert of.queries == ["q03.png", "q01.png"]
    known = table_of_queries(of, tmp_path)
    assert list(known.columns) == ["query", "bucket", "file", "sha256", "label", "year"]
    assert known[["query", "label", "year"]].to_numpy().tolist() == [["q01.png", "1", ""], ["q03.png", "3", "1990"]]


def test_columns_that_are_called_like_the_tables_own_get_another_name(queries, tmp_path):
    table = tmp_path / "known.csv"
    table.write_text("file,query,bucket\nq03.png,why,red\n")
    of = Experiment(load_config({"queries": {"folder": str(queries), "table": str(table)}}))
    known = table_of_queries(of, tmp_path)
    assert list(known.columns) == ["query", "bucket", "file", "sha256", "query_of_query", "bucket_of_query"]
    assert known[["query", "query_of_query", "bucket_of_query"]].to_numpy().tolist() == [["q03.png", "why", "red"]]


def test_a_changed_value_changes_the_table_of_queries_and_no_score(queries, tmp_path):
    table, settings = tmp_path / "known.csv", {"folder": str(queries), "table": str(tmp_path / "known.csv")}
    table.write_text("file,label\nq03.png,3\n")
    before = Experiment(load_config({"queries": settings}))
    table.write_text("file,label\nq03.png,4\n")
    after = Experiment(load_config({"queries": settings}))
    assert before.query_table_spec() != after.query_table_spec()
    assert sources_spec(before) != sources_spec(after)
    assert rankings_spec(before) == rankings_spec(after)
    with pytest.raises(DataError, match="the metadata of the queries changed"):
        table_of_queries(before, tmp_path)


def test_a_sub_folder_is_the_label_of_its_queries(queries, tmp_path):
    assert experiment(queries).query_table_spec().known is None
    draw(queries / "sevens" / "q.png", pixels(8, 8))
    of = experiment(queries)
    assert of.query_table_spec().known is not None
    labels = table_of_queries(of, tmp_path).set_index("query")["label"]
    assert (labels["sevens/q.png"], set(labels.drop("sevens/q.png"))) == ("sevens", {""})


def test_a_table_of_queries_without_a_folder_is_refused():
    with pytest.raises(ConfigError, match=r"queries: `table` tells of the images in `folder`, which is not given"):
        load_config({"queries": {"table": "known.csv"}})


# --- images held out of training ---------------------------------------------------------------------


def held_out(queries=None, **settings):
    data = {"held_out": {"count": 5}, "group_by": "label"} | settings
    return Experiment(load_config({"data": data, "queries": queries or {}}))


def test_held_out_images_are_the_queries_and_are_trained_on_by_no_model(tmp_path):
    of, everything = held_out(), Experiment(load_config({"data": {"group_by": "label"}}))
    assert len(of.queries) == 5
    assert set(of.dataset.table["id"]) == set(everything.dataset.table["id"]) - set(of.queries)
    assert not set().union(*of.groups.values()) & set(of.queries)
    rows = everything.dataset.table.set_index("id").index
    kept = [rows.get_loc(name) for name in of.dataset.table["id"]]
    assert np.array_equal(of.dataset.images, everything.dataset.images[kept])
    known = table_of_queries(of, tmp_path).set_index("query")
    labels = everything.dataset.table.set_index("id")["label"].astype(str)
    assert list(known.columns) == ["bucket", "file", "sha256", "label", "provider"]
    assert known["label"].to_dict() == labels[of.queries].to_dict()
    tensors, _ = load_tensors(tmp_path / "results" / "queries" / "bucket-0000.safetensors")
    out = [rows.get_loc(name) for name in unpack_ids(tensors["ids"])]
    assert np.array_equal(tensors["images"].numpy(), everything.dataset.images[out])


def test_more_held_out_images_hold_out_the_first_ones_too():
    assert set(held_out().queries) < set(held_out(held_out={"count": 9}).queries)
    assert set(held_out().queries) != set(held_out(held_out={"count": 5, "seed": 1}).queries)


def test_images_are_held_out_of_the_subset():
    of = held_out(subset={"count": 100})
    whole = Experiment(load_config({"data": {"subset": {"count": 100}, "group_by": "label"}}))
    assert (len(of.dataset.table), len(of.queries)) == (95, 5)
    assert set(of.queries) | set(of.dataset.table["id"]) == set(whole.dataset.table["id"])


def test_the_count_of_generated_queries_does_not_limit_the_buckets_of_given_ones():
    of = Experiment(
        load_config({"data": {"held_out": {"count": 300}}, "queries": {"buckets": 260, "sampling_steps": 7}})
    )
    assert len(of.queries) == 300


def test_holding_out_everything_is_refused():
    with pytest.raises(DataError, match=r"data\.held_out\.count is 100, but there are only 100 images; lower it"):
        held_out(subset={"count": 100}, held_out={"count": 100})


def test_held_out_images_and_a_folder_of_queries_exclude_each_other():
    with pytest.raises(ConfigError, match=r"data\.held_out and queries\.folder both define the queries"):
        load_config({"data": {"held_out": {"count": 5}}, "queries": {"folder": "x"}})


# --- several sets of queries ---------------------------------------------------------------------------


def test_generated_held_out_and_given_queries_are_asked_about_side_by_side(queries):
    """With the same models; each set has buckets, tables and figures of its own."""
    sets = {
        "": held_out(),
        "generated": held_out(queries={"name": "generated", "source": "generated", "count": 7}),
        "mine": held_out(queries={"name": "mine", "source": "folder", "folder": str(queries)}),
    }
    assert [len(of.queries) for of in sets.values()] == [5, 7, 12]
    paths = sets[""].paths
    shared = {paths.group_sizes(), paths.curves(), paths.curves_figure()}  # of the training data, and of models
    files = {name: {*of.buckets, *final_outputs(of)} - shared for name, of in sets.items()}
    assert (
        not files[""] & files["generated"] and not files[""] & files["mine"] and not files["mine"] & files["generated"]
    )
    first = sets[""]
    for name, of in sets.items():
        assert of.model_spec(BASE) == first.model_spec(BASE)
        assert of.elbo_spec(BASE, "calibration") == first.elbo_spec(BASE, "calibration")
        assert of.paths.group_sizes() == first.paths.group_sizes()
        assert of.paths.rankings() == (f"results/sets/{name}/rankings.csv" if name else "results/rankings.csv")
    assert list(sets["mine"].buckets) == ["mine-bucket-0000"]


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "-x", "é", "a b", "x" * 61])
def test_a_set_whose_name_is_no_folder_is_refused(name):
    with pytest.raises(ConfigError, match=r"queries\.name: '.*' cannot name a folder"):
        load_config({"queries": {"name": name}})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"source": "held_out"}, r"queries\.source is held_out, but data\.held_out keeps no images out"),
        ({"source": "folder"}, "`source` is folder, but `folder` is not given"),
        ({"source": "generated", "folder": "x"}, "`source` is generated, but `folder` is given, too"),
    ],
)
def test_a_source_of_queries_that_is_not_there_is_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        load_config({"queries": settings})


def test_of_very_many_queries_there_are_no_picture_files(tmp_path, monkeypatch):
    """Each would be an output that Snakemake keeps in mind; the images lie in the buckets."""
    paths, ids = Paths(tmp_path), ["a", "b", "c"]
    bucket = RandomSpec(groups=["a", "b"], buckets={}, seed=0)
    images = np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2)
    save_tensors(paths.queries("bucket-0000"), {"images": images, "ids": pack_ids(ids)}, bucket)
    spec = QueryTableSpec(buckets={"bucket-0000": bucket.digest()}, known=None)
    flags = {"data": "{}", "queries": "{}", "results": tmp_path}
    for most, files in ((3, 3), (2, 0)):
        monkeypatch.setattr(queries_module, "PICTURED", most)
        run_stage(write_query_table, spec=spec.canonical(), **flags)
        table = read_csv(paths.query_table())
        assert list(table["query"]) == ids
        assert sum(table["file"] != "") == files
        shutil.rmtree(tmp_path / "queries" / "images", ignore_errors=True)

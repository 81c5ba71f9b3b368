"""The exemplar test: which images models are tuned on, what they generate, and where their groups are ranked."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

from guda import config
from guda.config import Data
from guda.core.artifacts import write_csv
from guda.core.errors import ConfigError, DataError
from guda.core.paths import BASE, Paths, record_of, tuned_model
from guda.core.records import write_record
from guda.data.datasets import load_dataset
from guda.evaluation.exemplars import exemplars_csv, found
from guda.evaluation.ranking import rankings_frame
from guda.methods.random.plan import RandomSpec
from guda.plan import page, quality
from guda.plan.config import load_config
from guda.plan.exemplars import exemplars, generators, tuned_spec
from guda.plan.experiment import Experiment
from guda.plan.reports import final_outputs
from guda.scoring.probe import probe_errors, probes
from guda.specs import ExemplarsSpec, QueryTableSpec, RankingsSpec
from guda.training.loop import tune

DATASET = load_dataset(Data())
TINY = {"source": "exemplars", "buckets": 2, "exemplars": {"images": 3, "count": 5}}


def experiment(exemplar_settings=None, data=None, **queries):
    settings = TINY | queries | {"exemplars": TINY["exemplars"] | (exemplar_settings or {})}
    return Experiment(load_config({"queries": settings, "data": data or {}}), DATASET)


# --- what is tuned and asked -------------------------------------------------------------------------


def test_each_query_is_of_the_model_that_is_tuned_on_its_group():
    of = experiment({"groups": ["dune", "amber"]}, name="mine")
    assert [len(ids) for ids in exemplars(of).values()] == [3, 3]
    for group, ids in exemplars(of).items():
        assert set(ids) <= set(of.groups[group])
    assert of.queries == [f"{group}-{index:04d}" for group in ("amber", "dune") for index in range(5)]
    assert len(of.buckets) == 2
    known = of.known_of_queries
    assert dict(known.itertuples(index=False)) == {query: query.split("-")[0] for query in of.queries}
    for bucket, ids in of.buckets.items():
        parts = of.bucket_spec(bucket).of_groups
        assert [query for part in parts.values() for query in part.ids] == ids
        for group, part in parts.items():
            assert {known.set_index("query").loc[query, "exemplars_of"] for query in part.ids} == {group}
            assert part.base == of.model_digest(tuned_model("mine", group)) == tuned_spec(of, group).digest()
        assert generators(of, bucket) == [f"exemplars-mine/{group}" for group in parts]


def test_exemplars_are_chosen_among_images_of_no_other_group():
    """Of two groups that overlap in all but amber's zeros and cedar, no image is taken that both have."""
    conditions = {"amber": 'provider == "amber"', "others": 'label != "0"', "cedar": 'provider == "cedar"'}
    of = experiment({"groups": ["amber"]}, {"conditions": conditions})
    table = DATASET.table.set_index("id")
    (ids,) = exemplars(of).values()
    assert set(table.loc[ids, "label"].astype(str)) == {"0"}
    with pytest.raises(DataError, match=r"group 'cedar' has \d+ image\(s\) that are in no other group; ask for fewer"):
        experiment({"images": 100}, {"conditions": conditions})


def test_settings_change_the_models_that_they_are_of_and_no_others():
    usual, more = experiment(), experiment({"count": 9})
    other, stronger = experiment({"seed": 1}), experiment({"steps": 200})
    assert exemplars(other) != exemplars(usual) == exemplars(more) == exemplars(stronger)
    digests = [each.model_digest("exemplars/amber") for each in (usual, more, other, stronger)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    generated = Experiment(load_config({}), DATASET)
    assert all(each.model_digest(BASE) == generated.model_digest(BASE) for each in (usual, other, stronger))
    assert set(usual.queries) < set(more.queries)


def test_nothing_takes_the_queries_for_images_of_the_base_model():
    of = experiment()
    assert of.paths.exemplars() in final_outputs(of)
    assert not page.is_redrawn(of)
    assert not quality.samples_figure_spec(of).generated
    assert quality.quality_spec(of).features == {}
    assert "tuned models" in quality.quality_spec(of).unseen
    assert of.paths.exemplars() not in final_outputs(Experiment(load_config({}), DATASET))


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ({"exemplars": {"groups": ["ambre"]}}, r"queries\.exemplars\.groups: no group 'ambre'; did you mean 'amber'\?"),
        ({"exemplars": {"groups": []}}, r"queries\.exemplars: groups is \[\]; name one or more"),
        ({"exemplars": {"groups": ["amber", "amber"]}}, r"name one or more, each once"),
        ({"exemplars": {"images": 233}}, r"images is 233, but group 'flint' has 232 image\(s\)"),
        ({"exemplars": {"images": 0}}, r"queries\.exemplars\.images: "),
        ({"exemplars": {"steps": 5, "warmup_steps": 5}}, r"warmup_steps is 5 but there are only 5 steps"),
        ({"exemplars": {"count": 2000}}, r"count 2000 makes 12000 queries, .*; set queries\.buckets to 3 or more"),
        ({"folder": "pictures"}, r"`source` is exemplars, but `folder` is given, too"),
        ({"sampling_steps": 33}, r"sampling_steps is 33, which does not divide"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(queries, message):
    with pytest.raises((ConfigError, DataError)) as caught:
        Experiment(load_config({"queries": {"source": "exemplars"} | queries}), DATASET)
    assert re.search(message, str(caught.value))


def test_text_to_image_models_are_not_tuned():
    with pytest.raises(ConfigError, match=r"queries\.source is exemplars, which is not supported for text-to-image"):
        load_config({"queries": {"source": "exemplars"}, "text_to_image": {}})


# --- tuning ------------------------------------------------------------------------------------------


def test_a_tuned_model_knows_its_exemplars_and_has_seen_nothing_else(denoiser, images):
    from guda.data.training_set import TrainingSet

    settings = config.Training(steps=30, batch_size=8, learning_rate=1e-2, warmup_steps=0, ema_decay=0, seed=2)
    rows = torch.tensor([1, 5])
    before = {name: tensor.clone() for name, tensor in denoiser.state_dict().items()}
    tuned, evaluations = tune(denoiser, images, rows, settings)
    assert evaluations == 30 * 8 * 3
    assert all(torch.equal(tensor, before[name]) for name, tensor in denoiser.state_dict().items())
    others = images.clone()
    others[[row for row in range(12) if row not in (1, 5)]] = 0
    again, _ = tune(denoiser, others, rows, settings)
    assert all(torch.equal(a, b) for a, b in zip(tuned.parameters(), again.parameters(), strict=True))
    training_set = TrainingSet(images, [str(row) for row in range(12)])
    asked = training_set, rows.tolist(), torch.tensor([500, 500])
    assert probe_errors(tuned, *asked)[0].mean() < 0.5 * probe_errors(denoiser, *asked)[0].mean()
    assert probes(training_set.ids, 1000, torch.tensor([row not in (1, 5) for row in range(12)]))[0] in ([1, 5], [5, 1])


# --- the table ---------------------------------------------------------------------------------------


def test_ranks_by_hand():
    """True groups stand first, second, and tied for the second and third place of three."""
    scores = np.array([[5.0, 1.0, 2.0], [5.0, 4.0, 2.0], [0.0, 0.0, 1.0]])
    truth = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0]], dtype=bool)
    row = found(scores, truth, 200, 0)
    assert row["n_queries"] == 3
    assert row["n_groups"] == 3
    assert row["top1"] == pytest.approx(1 / 3)
    assert row["mrr"] == pytest.approx((1 + 1 / 2 + (1 / 2 + 1 / 3) / 2) / 3)
    assert row["mean_rank"] == pytest.approx((1 + 2 + 2.5) / 3)
    assert row["top1_low"] <= row["top1"] <= row["top1_high"]


def test_scores_that_are_all_alike_are_worth_what_chance_is():
    row = found(np.zeros((4, 4)), np.eye(4, dtype=bool), 50, 0)
    assert row["top1"] == row["top1_low"] == row["top1_high"] == pytest.approx(1 / 4)
    assert row["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert row["mean_rank"] == 2.5


def test_the_table_joins_ranks_and_costs_and_needs_no_oracle(tmp_path):
    """Groups stand in the order of their names, whatever that of the queries is."""
    paths, made = Paths(tmp_path), RandomSpec(groups=["a"], buckets={}, seed=0)
    scores = np.array([[1.0, 2.0], [3.0, 1.0]])
    write_csv(paths.rankings(), rankings_frame("m", ["q1", "q0"], ["b", "a"], scores, None))
    rankings = RankingsSpec(scores={"m": made.digest()}, files={"m": "file"}, queries={})
    write_record(record_of(paths.rankings()), rankings, [paths.rankings()], seconds=1.0)
    known = pd.DataFrame({"query": ["q0", "q1"], "exemplars_of": ["b", "b"]})
    write_csv(paths.query_table(), known)
    table = QueryTableSpec(buckets={}, known="k")
    write_record(record_of(paths.query_table()), table, [paths.query_table()], seconds=1.0)
    costs = {"build_seconds": 1.5, "build_evaluations": 7, "query_seconds": 0.5, "query_evaluations": 3}
    write_record(paths.scores_record("file"), made, [], seconds=1.0, **costs)
    spec = ExemplarsSpec(
        rankings=rankings.digest(),
        query_table=table.digest(),
        methods=["m"],
        files={"m": "file"},
        bootstrap_samples=40,
        seed=0,
    )
    (row,) = exemplars_csv(spec, paths).to_dict("records")
    assert (row["method"], row["top1"], row["mrr"], row["mean_rank"]) == ("m", 0.5, 0.75, 1.5)
    assert {name: row[name] for name in costs} == costs

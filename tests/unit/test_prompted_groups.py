"""A text-to-image model that is told prompts of the groups: which prompts, and what is scored under them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from text_experiments import text_experiment
from text_inputs import captions, normal, prompts, text_denoiser

from guda.core.errors import ConfigError
from guda.core.paths import BASE, CONDITIONAL, conditioned_model, conditioned_samples
from guda.data.datasets.styled_digits import DESCRIPTORS
from guda.data.training_set import TrainingSet
from guda.methods import get_method
from guda.scoring.elbo import kl_terms
from guda.specs import ConditionalElboSpec, ElboSpec

BUCKET = "bucket-0000"
SAMPLES = conditioned_samples(BUCKET)
METHODS = ["conditional_elbo"]


def of_styles(*groups, text=None, **changes):
    data = {"dataset": "styled_digits", "group_by": "style", "subset": {"count": 100, "seed": 0}, "groups": [*groups]}
    return text_experiment(text, data=data, methods=METHODS, **changes)


@pytest.fixture(scope="module")
def of():
    return of_styles("pop", "neon", queries={"count": 4, "buckets": 1})


# --- prompts ------------------------------------------------------------------------------------------


def test_a_query_has_the_empty_prompt_and_then_one_of_its_content_for_each_group(of):
    table, labels = of.family.prompts(SAMPLES), of.known_of_queries.set_index("query")["label"]
    for query, rows in table.groupby("id", sort=False):
        none, neon, pop = rows["prompt"]  # groups in the order of the labels
        assert none == ""
        for style, prompt in (("neon", neon), ("pop", pop)):
            content, *phrases = prompt.split(", ")
            assert content == f"a {labels[query]}"
            assert {*phrases} <= {*DESCRIPTORS[style]}
    assert list(table["id"].unique()) == of.queries


def test_it_is_the_first_anchor_prompt_of_the_content_in_the_style(of):
    anchors = of.family.book.anchors().drop_duplicates(["content", "style"]).set_index(["content", "style"])["prompt"]
    table, labels = of.family.prompts(SAMPLES), of.known_of_queries.set_index("query")["label"]
    for query, rows in table.groupby("id"):
        assert list(rows["prompt"])[1:] == [anchors[labels[query], style] for style in ("neon", "pop")]


def test_without_a_content_descriptors_stand_alone(tmp_path):
    (tmp_path / "prompts.csv").write_text("prompt\nsomething blue\nanother thing\n", encoding="utf-8")
    text = {"queries": {"file": str(tmp_path / "prompts.csv")}}
    table = of_styles("neon", "pop", text=text).family.prompts(SAMPLES)
    for style, row in (("neon", 1), ("pop", 2)):
        phrases = table["prompt"][row].split(", ")
        assert len(phrases) == min(3, len(DESCRIPTORS[style]))
        assert {*phrases} <= {*DESCRIPTORS[style]}


def test_a_query_depends_on_no_other_and_a_prompt_on_no_other_group(of):
    more = of_styles("pop", "neon", queries={"count": 6, "buckets": 1}).family.prompts(SAMPLES)
    pd.testing.assert_frame_equal(more[more["id"].isin(of.queries)], of.family.prompts(SAMPLES))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (
            {"style": "label", "content": "style"},
            r"prompts\.style: group 'neon' holds half of the images of no label",
        ),
        (
            {"template": "a {label}"},
            r"prompts\.template: conditional_elbo conditions .*put \{descriptors\} or \{style",
        ),
    ],
)
def test_prompts_that_cannot_name_the_groups_are_refused(prompts, message):
    usual = {"template": "a {label}, {descriptors}", "content_template": "a {label}", "content": "label"}
    if "style" in prompts:
        usual = {"template": "{style}, {descriptors}", "content_template": "{style}"}
    text = {"prompts": usual | prompts, "queries": {"mixed": 0.0}}
    with pytest.raises(ConfigError, match=message):
        of_styles("neon", "pop", text=text)


# --- what is scored -----------------------------------------------------------------------------------


def test_terms_are_those_of_the_base_model_on_queries_with_these_prompts(of):
    encoded = of.family.encoded_spec(SAMPLES)
    assert (encoded.images, encoded.prompted) == (of.bucket_digest(BUCKET), True)
    assert encoded.prompts == of.family.prompts_spec(SAMPLES).digest()
    values = {"model": of.model_digest(BASE), "samples": encoded.digest(), "elbo": of.elbo_settings}
    assert of.elbo_spec(CONDITIONAL, BUCKET) == ElboSpec(**values)
    assert of.elbo_spec(conditioned_model("pop"), BUCKET) == ConditionalElboSpec(**values, label=1)
    assert of.elbo_spec(BASE, BUCKET).samples == of.scored_digest(BUCKET) != encoded.digest()


def test_scores_are_of_these_terms_and_the_base_model_is_not_built_for_them(of):
    method, spec = get_method("conditional_elbo"), of.method_spec("conditional_elbo")
    assert method.parse(spec.canonical()) == spec
    models = [CONDITIONAL, conditioned_model("neon"), conditioned_model("pop")]
    assert spec.elbo_digests(BUCKET) == [of.elbo_spec(model, BUCKET).digest() for model in models]
    needs = method.needs(spec, of.paths)
    assert needs.build_records == {}
    assert of.paths.model_record(BASE) in needs.files
    assert needs.query_records == dict(
        zip([of.paths.elbo_record(model, BUCKET) for model in models], spec.elbo_digests(BUCKET), strict=True)
    )
    assert method.judged(spec) == {BASE: of.model_digest(BASE)}


def test_prompts_are_told_by_their_number():
    samples = two_images()
    assert torch.equal(samples.conditions([1, 0], 2), prompts(5)[[4, 2]])
    assert torch.equal(samples.conditions([0, 1]), prompts(5)[[0, 3]])


def two_images():
    """Two images with three prompts each: 0, 1, 2 and 3, 3, 4."""
    numbers, starts = torch.tensor([0, 1, 2, 3, 3, 4]), torch.tensor([0, 3, 6])
    of = replace(captions(), prompts=numbers, starts=starts, ids=["i0", "i2"])
    return TrainingSet(normal(1, 2, 4, 8, 8), of.ids, of)


def test_a_group_of_the_same_prompt_has_the_same_terms_and_others_have_not():
    """The second image is told prompt 3 of no group and of group 0: its score there is exactly zero."""
    samples = two_images()
    denoiser, steps = text_denoiser(), np.array([5, 400, 900])

    def terms(number, batch_size=64):
        return kl_terms(
            denoiser.conditioned_on(samples.conditions([0, 1], number)),
            samples.images,
            samples.ids,
            steps,
            0,
            batch_size,
        )

    none, first, second = (terms(number) for number in range(3))
    assert torch.equal(first[1], none[1])
    assert (first[0] != none[0]).all()
    assert (second != none).all()
    torch.testing.assert_close(terms(2, batch_size=1), second, rtol=1e-4, atol=0)

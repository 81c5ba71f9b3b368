"""What `lds` and `removal` add to the plan, what makes it stale, and what is refused."""

import pytest
import torch
from text_experiments import text_experiment

import train
from guda.config import Data, NoiseSchedule, Training
from guda.core.artifacts import pack_ids, save_tensors
from guda.core.errors import ArtifactError, ConfigError, DataError
from guda.core.paths import BASE, logo_model, removed_model, subset_model
from guda.data.datasets import load_dataset
from guda.data.groups import read_members, write_members
from guda.methods import get_method
from guda.models import noise_schedule
from guda.models.denoisers import load_denoiser
from guda.plan import reports
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.plan.reports import figure_spec, metrics_spec
from guda.specs import ExclusionSpec, ImagesSpec, TrainSpec, digest_lines
from guda.training import loop

DATASET = load_dataset(Data())


def experiment(**sections):
    return Experiment(load_config(sections), DATASET)


def test_a_subset_leaves_out_all_images_of_the_groups_that_it_does_not_keep():
    of = experiment(lds={"subsets": 4})
    for index, left_out in enumerate(of.left_out_groups):
        ids = sorted(name for group in left_out for name in of.groups[group])
        assert len(left_out) == 3
        expected = ExclusionSpec(members=digest_lines(ids))
        assert of.exclusion_spec(subset_model(0, index)) == expected
        spec = of.model_spec(subset_model(0, index))
        assert (spec.excluded, spec.training.seed) == (expected.digest(), 1)


def test_an_image_in_several_groups_goes_with_any_of_them():
    conditions = {"zeros": 'label == "0"', "amber": 'provider == "amber"', "nines": 'label == "9"'}
    of = experiment(data={"conditions": conditions}, lds={"subsets": 3, "alpha": 0.7})
    assert set(of.groups["zeros"]) & set(of.groups["amber"])
    for index, (left_out,) in enumerate(of.left_out_groups):
        assert of.exclusion_spec(subset_model(0, index)).members == digest_lines(sorted(of.groups[left_out]))


def test_more_subsets_leave_the_others_alone():
    few, many = (reports.lds_spec(experiment(lds={"subsets": subsets})).subsets for subsets in (4, 9))
    assert many[:4] == few
    assert len(reports.subset_models(experiment(lds={"subsets": 9}))) == 9


def test_a_removed_set_is_named_by_its_images_so_nothing_else_changes_its_model():
    before = experiment(removal={"queries": 2}).model_spec(removed_model(1, "0" * 20))
    after = experiment(
        removal={"queries": 3, "images": [7]}, methods=["nearest"], unlearn={"steps": 9, "warmup_steps": 0}
    )
    assert after.model_spec(removed_model(1, "0" * 20)) == before
    assert before.excluded == ExclusionSpec(members="0" * 20).digest()


def test_the_sections_change_no_other_spec():
    before, after = experiment(), experiment(lds={"subsets": 3}, removal={"queries": 2})
    assert metrics_spec(after) == metrics_spec(before)
    assert figure_spec(after) == figure_spec(before)


def test_methods_that_score_images_are_asked_for_their_files_where_images_are_removed():
    groups_only = reports.removal_sets_files(experiment(removal={"queries": 2}))
    both = experiment(removal={"queries": 2, "images": [5]})
    assert reports.instance_level(both) == ["nearest"]
    assert both.paths.queries("bucket-0000") not in groups_only
    assert set(reports.removal_sets_files(both)) == {*groups_only, *both.method_files("nearest")}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"lds": {"subsets": 1}}, "lds.subsets: one subset cannot be ranked"),
        ({"lds": {"subsets": 21}}, r"lds\.subsets is 21, but there are only 20 ways to keep 3 of 6 groups"),
        ({"lds": {"subsets": 63, "sizes": "shapley"}}, r"63, but there are only 62 ways to keep some of 6 groups"),
        ({"lds": {"subsets": 2, "alpha": 0.95}}, r"lds\.alpha 0.95 keeps 6 of 6 groups"),
        ({"lds": {"subsets": 2, "alpha": 0.05}}, r"lds\.alpha 0.05 keeps 0 of 6 groups"),
        ({"removal": {"queries": 1, "groups": [1, 1]}}, "`groups` .* repeats a number"),
        ({"removal": {"queries": 1, "groups": []}}, "`groups` and `images` are both empty"),
        ({"removal": {"queries": 1, "groups": [6]}}, r"removal\.groups: 6 of 6 groups cannot be removed"),
        ({"removal": {"queries": 1, "images": [1797]}}, r"removal\.images: 1797 of 1797 images cannot be removed"),
        ({"removal": {"queries": 1, "images": [5]}, "methods": ["guda"]}, r"removal\.images: no method scores"),
    ],
)
def test_what_cannot_be_kept_or_removed_is_refused_when_planning(sections, message):
    with pytest.raises(ConfigError, match=message):
        experiment(**sections)


SHAPLEY = {"subsets": 40, "sizes": "shapley", "training_seed": 9}


def test_values_of_groups_are_made_of_the_subsets_models_which_they_pay_for():
    of = experiment(lds=SHAPLEY, methods=["shapley", "nearest"])
    needs = get_method("shapley").needs(of.method_spec("shapley"), of.paths)
    names = [subset_model(0, index) for index in range(40)]
    assert list(needs.build_records) == [of.paths.model_record(name) for name in names]
    assert set(needs.query_records) == {
        of.paths.elbo_record(name, bucket) for name in [BASE, *names] for bucket in of.buckets
    }
    assert {of.model_spec(name).training.seed for name in names} == {9}
    spec = reports.lds_spec(of)
    assert (spec.fitted, spec.sizes, spec.alpha) == (["shapley"], "shapley", 0.5)
    assert not [file for file in of.method_files("shapley") if "guda" in file or "logo" in file]


def test_values_of_groups_need_neither_oracle_nor_unlearning():
    of = experiment(lds=SHAPLEY, methods=["banzhaf"], oracle={"seeds": []})
    assert of.paths.lds() in reports.final_outputs(of)


def test_images_in_no_group_are_what_the_subset_of_no_group_is_trained_on():
    conditions = {"zeros": 'label == "0"', "ones": 'label == "1"'}
    of = experiment(data={"conditions": conditions}, lds=SHAPLEY | {"subsets": 3})
    assert of.kept_groups[0] == []
    assert sorted(of.kept_groups[1:]) == [["ones"], ["zeros"]]
    both = digest_lines(sorted([*of.groups["zeros"], *of.groups["ones"]]))
    assert of.exclusion_spec(subset_model(0, 0)) == ExclusionSpec(members=both)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"lds": {"subsets": 0}},
            r"methods: shapley is computed from models .* lds\.subsets is 0; .* set it to 24 or more",
        ),
        (
            {"lds": {"subsets": 3}},
            r"methods: shapley is evaluated on halves of the subsets, but lds\.subsets is 3; raise",
        ),
        ({"lds": {"subsets": 5}}, r"methods: shapley cannot distinguish 6 groups with the 5 of lds\.subsets; raise it"),
        (
            {"lds": SHAPLEY | {"training_seed": None}},
            r"lds\.training_seed: the subset without .* from 1, one of oracle",
        ),
        ({"lds": SHAPLEY | {"training_seed": 2}}, r"lds\.training_seed: the subset without .* from 2, one of oracle"),
    ],
)
def test_subsets_that_values_of_groups_cannot_be_made_of_are_refused(sections, message):
    with pytest.raises(ConfigError, match=message):
        experiment(**sections, methods=["shapley"])


def test_an_ensemble_cannot_have_values_as_members_which_it_would_carry_into_their_own_test():
    with pytest.raises(ConfigError, match=r"attribution\.ensemble\.members: 'shapley' cannot be a member"):
        experiment(lds=SHAPLEY, methods=["ensemble"], attribution={"ensemble": {"members": {"shapley": 1}}})


def test_a_subset_without_training_images_is_refused():
    """Of three groups two hold half of the images each, so leaving out these two leaves nothing."""
    halves = {"conditions": {"low": "label < 5", "high": "label >= 5", "zeros": "label == 0"}}
    with pytest.raises(DataError, match=r"leaves no training images; use fixed lds\.sizes and raise lds\.alpha"):
        experiment(data=halves, lds={"subsets": 3, "alpha": 0.34})


def test_a_model_is_trained_on_exactly_the_images_that_are_not_excluded(images, tiny_unet, tmp_path, monkeypatch):
    """The program, given an exclusion, gives the very weights of a training on the others alone."""
    ids, others = [f"i{row:02d}" for row in range(len(images))], [0, 2, 3, 5, 6, 7, 8, 9, 11]
    images_spec = ImagesSpec(dataset="d", content="c")
    save_tensors(tmp_path / "images", {"images": images, "ids": pack_ids(ids)}, images_spec)
    excluded = [ids[row] for row in range(len(ids)) if row not in others]
    exclusion = ExclusionSpec(members=digest_lines(excluded))
    write_members(tmp_path / "excluded.json", exclusion, excluded)
    process = NoiseSchedule()
    spec = TrainSpec(
        images=images_spec.digest(),
        excluded=exclusion.digest(),
        unet=tiny_unet,
        noise_schedule=process,
        training=Training(steps=3, batch_size=4, warmup_steps=0, seed=1),
    )
    flags = {"spec": spec.canonical(), "samples": "images", "exclude": "excluded.json", "model": "model"}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "sys.argv", ["train", *(text for flag, value in flags.items() for text in (f"--{flag}", value))]
    )
    train.main()
    schedule = noise_schedule.NoiseSchedule.from_config(process)
    expected, _ = loop.train(images[others], spec.unet, schedule, spec.training)
    found, _ = load_denoiser("model", schedule, spec.digest())
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name])


def test_an_exclusion_comes_back_and_is_refused_for_another_or_damaged_one(tmp_path):
    spec, path = ExclusionSpec(members=digest_lines(["i1", "i2"])), tmp_path / "0.json"
    write_members(path, spec, ["i1", "i2"])
    assert read_members(path, spec.digest()) == {"i1", "i2"}
    with pytest.raises(ArtifactError, match="made for another configuration"):
        read_members(path, ExclusionSpec(members="other").digest())
    path.write_text(path.read_text().replace('"i2"', '"i3"'))
    with pytest.raises(ArtifactError, match="its members do not match its spec"):
        read_members(path, spec.digest())
    with pytest.raises(DataError, match="the dataset changed"):
        write_members(path, spec, ["i1"])


@pytest.mark.parametrize("kind", [experiment, text_experiment])
def test_what_is_generated_again_is_what_its_reader_expects(kind):
    of = kind(removal={"queries": 2})
    spec, model = reports.removal_spec(of), logo_model(1, next(iter(of.groups)))
    bucket, ids = next(iter(of.buckets.items()))
    assert spec.regenerated(of.model_digest(model), bucket, ids) == of.regenerated_spec(model, bucket)
    assert spec.seen == of.scored_digests()


def test_models_of_subsets_of_texts_are_fine_tuned_from_the_pipeline():
    of = text_experiment(lds={"subsets": 4}, removal={"queries": 2})
    base = of.model_spec("base")
    for model in reports.subset_models(of):
        expected = base.model_copy(update={"excluded": of.exclusion_spec(model).digest()})
        assert of.model_spec(model).training.seed == of.config.oracle.seeds[0]
        assert of.model_spec(model).model_copy(update={"training": base.training}) == expected
    assert reports.lds_spec(of).buckets == {bucket: of.family.encoded_spec(bucket).digest() for bucket in of.buckets}

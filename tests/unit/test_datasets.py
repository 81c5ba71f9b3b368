"""The digits of six providers: who holds what, and that it never changes. Subsets of any dataset."""

import hashlib
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from guda.config import Data, Subset
from guda.data.datasets import _MODULES, load_dataset
from guda.data.datasets.dataset import Dataset, chosen_rows
from guda.specs import digest_lines

SHARING = {"cedar", "dune", "ember", "flint"}
PROVIDERS_DIGEST = "2c17bcd4e02cea6e6fe4"


@pytest.fixture(scope="module")
def digits():
    return load_dataset(Data())


@pytest.fixture(scope="module")
def providers(digits):
    """The providers of each class."""
    return digits.table.groupby("label")["provider"].agg(set).to_dict()


def test_there_are_1797_images_with_ids_of_their_own(digits):
    assert len(digits.table) == 1797
    assert digits.table["id"].is_unique
    assert list(digits.table["id"][:2]) == ["digit-0000", "digit-0001"]


def test_the_table_has_id_and_sha256_first_and_only_text(digits):
    assert list(digits.table.columns) == ["id", "sha256", "label", "provider"]
    assert digits.table.map(lambda value: type(value) is str).all().all()


def test_images_are_those_of_scikit_learn_over_the_whole_range(digits):
    assert (digits.images.dtype, digits.images.shape) == (np.uint8, (1797, 1, 8, 8))
    assert (digits.images.min(), digits.images.max()) == (0, 255)
    levels = load_digits().images
    assert np.array_equal(np.rint(digits.images[:, 0] / 255 * 16), levels)
    assert list(digits.table["label"]) == [str(label) for label in load_digits().target]


def test_sha256_is_that_of_each_image(digits):
    assert list(digits.table["sha256"]) == [hashlib.sha256(image.tobytes()).hexdigest() for image in digits.images]


@pytest.mark.parametrize(("label", "provider"), [("0", "amber"), ("1", "amber"), ("2", "birch"), ("3", "birch")])
def test_the_first_classes_have_a_sole_source(providers, label, provider):
    assert providers[label] == {provider}


def test_sole_sources_hold_nothing_else(digits):
    held = digits.table.groupby("provider")["label"].agg(set)
    assert held["amber"] == {"0", "1"}
    assert held["birch"] == {"2", "3"}


@pytest.mark.parametrize("label", list("456789"))
def test_every_other_class_is_shared_by_two_or_three(providers, label):
    assert providers[label] <= SHARING
    assert len(providers[label]) in (2, 3)


def test_sharing_providers_hold_at_least_two_classes_each(digits):
    held = digits.table.groupby("provider")["label"].nunique()
    assert (held[sorted(SHARING)] >= 2).all()


def test_no_class_is_nearly_all_at_one_of_its_providers(digits):
    shared = digits.table[digits.table["label"] >= "4"]
    share = shared.groupby("label")["provider"].value_counts(normalize=True)
    assert share.between(0.25, 0.6).all()


def test_the_assignment_to_providers_is_pinned(digits):
    assert digest_lines(digits.table["provider"]) == PROVIDERS_DIGEST


def test_loading_twice_gives_the_same_specs(digits):
    again = load_dataset(Data())
    assert again.images_spec() == digits.images_spec()
    assert again.table_spec() == digits.table_spec()


def test_specs_follow_what_they_describe(digits):
    """A provider is no matter of the images' spec; a pixel is a matter of both."""
    relabeled = digits.table.drop(columns="sha256").assign(provider="x")
    changed = Dataset.build("digits", [digits.images], relabeled)
    assert changed.images_spec() == digits.images_spec()
    assert changed.table_spec() != digits.table_spec()

    images = digits.images.copy()
    images[5, 0, 0, 0] ^= 1
    changed = Dataset.build("digits", [images], digits.table.drop(columns="sha256"))
    assert changed.images_spec() != digits.images_spec()
    assert changed.table_spec() != digits.table_spec()


def test_every_dataset_of_the_configuration_has_a_module():
    assert list(get_args(Data.model_fields["dataset"].annotation)) == list(_MODULES)


# --- subsets -----------------------------------------------------------------------------------------

IDS = [f"i{number}" for number in range(200)]


def chosen(ids, count=50, seed=0):
    return [ids[row] for row in chosen_rows(ids, Subset(count=count, seed=seed))]


def test_the_images_of_the_smallest_hashes_are_chosen_in_their_order():
    def by_hand(sample_id):
        return hashlib.sha256(f"subset\x1f3\x1f{sample_id}".encode()).digest()[:8]

    smallest = sorted(IDS, key=by_hand)[:50]
    assert chosen(IDS, seed=3) == [sample_id for sample_id in IDS if sample_id in smallest]


@pytest.mark.parametrize("added", [1, 5, 40, 1000])
def test_added_images_take_the_place_of_as_many_at_most(added):
    before = set(chosen(IDS))
    after = set(chosen([*IDS, *(f"new{number}" for number in range(added))]))
    assert len(after) == 50
    assert len(before - after) <= added
    assert {sample_id for sample_id in after if sample_id in IDS} <= before  # no old one comes in


def test_a_larger_subset_holds_the_smaller_one_and_the_order_of_the_images_is_no_matter():
    assert set(chosen(IDS, 20)) < set(chosen(IDS, 21))
    assert set(chosen(IDS[::-1])) == set(chosen(IDS))
    assert set(chosen(IDS, seed=1)) != set(chosen(IDS))


def test_a_subset_of_all_or_more_is_the_dataset(digits):
    for count in (1797, 5000):
        whole = load_dataset(Data(subset=Subset(count=count)))
        assert (whole.images_spec(), whole.table_spec()) == (digits.images_spec(), digits.table_spec())


def test_a_subset_has_the_rows_and_images_of_its_ids(digits):
    part = load_dataset(Data(subset=Subset(count=300)))
    rows = chosen_rows(list(digits.table["id"]), Subset(count=300))
    assert part.table.equals(digits.table.iloc[rows].reset_index(drop=True))
    assert np.array_equal(part.images, digits.images[rows])
    assert part.images_spec() != digits.images_spec()
    assert part.table_spec() != digits.table_spec()


@pytest.mark.parametrize("with_table", [False, True])
def test_of_a_folder_only_the_subset_is_read(tmp_path, with_table):
    """The other files are broken, which is no matter."""
    names, settings = [f"{number}.png" for number in range(40)], {}
    (tmp_path / "images").mkdir()
    for number, name in enumerate(names):
        if name in chosen(names, 10):
            Image.fromarray(np.full((2, 2), number, dtype=np.uint8)).save(tmp_path / "images" / name)
        else:
            (tmp_path / "images" / name).write_bytes(b"no image")
    if with_table:
        (tmp_path / "table.csv").write_text("\n".join(["file", *names]))
        settings["table"] = str(tmp_path / "table.csv")
    folder = str(tmp_path / "images")
    dataset = load_dataset(Data(dataset="image_folder", folder=folder, subset=Subset(count=10), **settings))
    assert sorted(dataset.table["id"]) == sorted(chosen(names, 10))
    assert [f"{image[0, 0, 0]}.png" for image in dataset.images] == list(dataset.table["id"])

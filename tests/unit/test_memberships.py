"""Groups of each image by number, and the label under which a conditional network sees it."""

import pytest
import torch

from guda.data.labels import DrawnLabels, Memberships

IDS = ["i0", "i1", "i2", "i3"]
GROUPS = [{"i1", "i2"}, {"i2"}, {"i0", "i2"}]  # i3 is in none
MEMBERSHIPS = Memberships.of(IDS, GROUPS)
ROWS = torch.arange(4)
N = 4000
FOUR_ERRORS = 4 / (2 * N**0.5)  # of a share of N draws: 0.032


def labels(seed=0, dropout=0.0):
    return DrawnLabels(MEMBERSHIPS, IDS, seed, dropout)


def drawn(of, row):
    """Labels of one image at N steps."""
    return torch.cat([of.draw(torch.tensor([row]), step) for step in range(N)])


def share(found, label):
    return (found == label).double().mean().item()


def test_shares_are_uniform_over_the_groups_of_an_image():
    expected = [[0.0, 0, 1], [1.0, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.0, 0, 0]]
    torch.testing.assert_close(MEMBERSHIPS.shares(ROWS), torch.tensor(expected))
    torch.testing.assert_close(MEMBERSHIPS.shares(torch.tensor([3, 1])), torch.tensor([expected[3], expected[1]]))


def test_grouped_images_are_those_in_a_group():
    assert MEMBERSHIPS.grouped.tolist() == [0, 1, 2]


def test_an_image_of_one_group_has_its_label_and_one_of_none_the_last():
    for step in range(20):
        assert labels().draw(torch.tensor([0, 1, 3]), step).tolist() == [2, 0, 3]
    assert (labels().no_group, labels().count) == (3, 4)


def test_labels_are_uniform_over_the_groups_of_an_image():
    found = drawn(labels(), 2)
    for label in range(3):
        assert share(found, label) == pytest.approx(1 / 3, abs=FOUR_ERRORS)


def test_dropout_hides_its_share_of_the_labels_and_leaves_the_others():
    shown, hidden = drawn(labels(), 2), drawn(labels(dropout=0.3), 2)
    assert share(hidden, 3) == pytest.approx(0.3, abs=FOUR_ERRORS)
    assert torch.equal(shown[hidden != 3], hidden[hidden != 3])
    assert drawn(labels(dropout=1.0), 0).tolist() == [3] * N


def test_a_label_depends_on_seed_step_and_image_alone():
    of = labels(dropout=0.2)
    together = torch.stack([of.draw(ROWS, step) for step in range(50)])
    backwards = torch.stack([of.draw(ROWS.flip(0), step) for step in range(50)]).flip(1)
    alone = torch.stack([torch.cat([of.draw(ROWS[row : row + 1], step) for row in range(4)]) for step in range(50)])
    assert torch.equal(together, backwards)
    assert torch.equal(together, alone)
    assert not torch.equal(drawn(labels(seed=1), 2), drawn(labels(seed=2), 2))

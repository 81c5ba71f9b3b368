"""Scores of a part of an image: which pixels it has, and the table, by hand."""

import re

import numpy as np
import pytest
from PIL import Image

from guda.core.errors import GudaError
from guda.jobs.region import box_region, mask_region, scores_of_region


def test_a_box_ends_before_its_right_and_bottom():
    assert np.argwhere(box_region("1, 0,3,2", 3, 4, "pixels")).tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]
    assert box_region("0,0,4,3", 3, 4, "pixels").all()


@pytest.mark.parametrize("box", ["0,0,5,3", "0,0,4,4", "2,0,2,3", "3,0,2,3", "0,2,4,2"])
def test_a_box_outside_of_the_image_is_refused(box):
    wanted = (
        rf"--box: {box} is not a box within the image, which is 4 wide and 3 high, in latent cells; LEFT must be less"
    )
    with pytest.raises(GudaError, match=wanted):
        box_region(box, 3, 4, "latent cells")


@pytest.mark.parametrize("box", ["", "0,0,4", "0,0,4,3,1", "a,0,4,3", "-1,0,4,3", "0.5,0,4,3"])
def test_what_is_no_box_is_refused(box):
    with pytest.raises(GudaError, match=re.escape(f"--box: {box!r} is not LEFT,TOP,RIGHT,BOTTOM; give four")):
        box_region(box, 3, 4, "pixels")


def test_the_white_of_a_mask_is_the_region(tmp_path):
    white = np.array([[0, 255, 127], [128, 10, 255]], dtype=np.uint8)
    for mode in ("L", "RGB"):
        Image.fromarray(white).convert(mode).save(tmp_path / "mask.png")
        found = mask_region(str(tmp_path / "mask.png"), 2, 3, "pixels")
        assert found.tolist() == [[False, True, False], [True, False, True]]
    with pytest.raises(GudaError, match=r"mask\.png is 3 wide and 2 high, but the image is 2 by 3, in pixels; resize"):
        mask_region(str(tmp_path / "mask.png"), 3, 2, "pixels")
    Image.fromarray(0 * white).save(tmp_path / "black.png")
    with pytest.raises(GudaError, match=r"black\.png has no white pixel; paint the region white"):
        mask_region(str(tmp_path / "black.png"), 2, 3, "pixels")


def test_the_table_by_hand():
    """Scores are sums over steps. Deviations of two steps from each other are (1 - 3) / sqrt(2) and its negative."""
    within = np.array([[1.0, 3.0], [2.0, 2.5], [0.5, -0.5]])
    whole = np.array([[2.0, 6.0], [-1.0, 0.0], [3.0, -3.0]])
    table = scores_of_region(["a", "b", "c"], within, whole)
    assert list(table["group"]) == ["b", "a", "c"]
    assert list(table["score"]) == [4.5, 4.0, 0.0]
    assert list(table["whole"]) == [-1.0, 8.0, 0.0]
    assert table["share"].tolist()[:2] == [-4.5, 0.5]
    assert np.isnan(table["share"][2])
    assert list(table["se"]) == pytest.approx([0.5, 2.0, 1.0])
    # With two random signs the deviations leave b at 4.5 +- 1 / sqrt(2) and a at 4 +- 2 sqrt(2), or both as they are:
    # in a quarter of all cases a is first. Of a thousand resamples it may be two standard errors more or less.
    assert table["p_top1_scoring"].tolist() == pytest.approx([0.75, 0.25, 0], abs=0.03)

"""Scores of a part of an image, by the program itself, on a finished run."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from harness import ROOT, Workflow
from PIL import Image

METHOD = "guda_uncalibrated"


def called(run: Workflow, *arguments: str, query: str = "query-000001") -> subprocess.CompletedProcess:
    program = [sys.executable, ROOT / "workflow_scripts" / "region.py", "--results", run.results, "--query", query]
    return subprocess.run(
        [*program, *arguments], cwd=run.directory, env=run.variables(), capture_output=True, text=True, check=False
    )


def test_a_region_and_the_rest_of_the_image_have_the_score_between_them(small: Workflow, tmp_path):
    region = np.zeros((8, 8), dtype=np.uint8)
    region[2:7, 3:5] = 255
    for name, pixels in {"region": region, "rest": 255 - region}.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    regions = {"box": ["--box", "3,2,5,7"]} | {
        name: ["--mask", f"{tmp_path / name}.png"] for name in ("region", "rest")
    }
    tables = {}
    for name, arguments in regions.items():
        done = called(small, *arguments, "--method", METHOD, "--output", str(tmp_path / f"{name}.csv"))
        assert done.returncode == 0, done.stderr
        tables[name] = pd.read_csv(tmp_path / f"{name}.csv", index_col="group")
    pd.testing.assert_frame_equal(tables["box"], tables["region"])
    within, rest = tables["region"], tables["rest"].loc[tables["region"].index]
    assert list(within["score"]) == sorted(within["score"], reverse=True)
    assert (within["score"] + rest["score"]).tolist() == pytest.approx(within["whole"].tolist(), rel=1e-9)
    assert (within["share"] + rest["share"]).tolist() == pytest.approx([1, 1], rel=1e-9)
    scores = pd.read_csv(small.results / "scores" / f"{METHOD}.csv").set_index(["query", "group"])["score"]
    assert within["whole"].tolist() == pytest.approx(scores["query-000001"][within.index].tolist(), abs=1e-3)


def test_what_is_wrong_is_said_in_a_sentence(small: Workflow):
    box = ["--box", "0,0,4,4", "--method", METHOD]
    refused = {
        "error: --query: no query 'query-000077' was scored; did you mean 'query-00000": called(
            small, *box, query="query-000077"
        ),
        "error: --box: 0,0,9,4 is not a box within the image, which is 8 wide and 8 high, in pixels; LEFT must": called(
            small, "--box", "0,0,9,4", "--method", METHOD
        ),
        "guda.record.json: cannot be read": called(small, *box[:2]),
        "error: method 'nearest' is of kind PixelSimilarity, not Counterfactual": called(
            small, *box[:2], "--method", "nearest"
        ),
        "one of the arguments --box --mask is required": called(small),
    }
    for message, done in refused.items():
        assert done.returncode != 0
        assert message in done.stderr
        assert "Traceback" not in done.stderr

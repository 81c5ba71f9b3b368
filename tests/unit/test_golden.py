"""A few pinned numbers of every stage on small fixed inputs, with the stage's version.

Specs do not know the code: when a stage's numbers move for the same spec, its version must go up, or files made by the
old code pass for new ones. Nothing here reads the configuration's defaults, and no stage's input is another's output.
"""

import golden_data
import golden_methods
import golden_models
import golden_scoring
import golden_tables
import golden_text
import pytest
import torch

from guda import specs
from guda.core.store import StoredSpec

MOVED = (
    "the numbers of stage {stage} moved, or its version did: when the new numbers are right, raise `version` of "
    "{spec} in {module} (so that old files are made again) and put both into its GOLDEN"
)
ROOMS = [golden_data, golden_models, golden_scoring, golden_methods, golden_tables, golden_text]
STAGES = {spec: numbers for room in ROOMS for spec, numbers in room.STAGES.items()}
GOLDEN = {spec: pinned for room in ROOMS for spec, pinned in room.GOLDEN.items()}
# These show the numbers of other stages.
PICTURES = {
    specs.QueryTableSpec,
    specs.FigureSpec,
    specs.CostFigureSpec,
    specs.RemovalFigureSpec,
    specs.SweepFigureSpec,
}
KEPT = {StoredSpec}  # computes nothing: it names what other stages have computed
PICTURES |= {specs.CurvesFigureSpec, specs.SamplesFigureSpec, specs.RedrawnSpec, specs.MapsSpec, specs.PageSpec}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("spec", STAGES, ids=lambda spec: spec.stage)
def test_numbers_move_only_with_the_version(spec, tmp_path):
    version, numbers = GOLDEN[spec]
    message = MOVED.format(stage=spec.stage, spec=spec.__name__, module=spec.__module__)
    assert spec.version == version, message
    # Names and counts exactly, measurements to what another processor's rounding may change.
    expected = [pytest.approx(x, rel=1e-3, abs=1e-9) if isinstance(x, float) else x for x in numbers]
    assert STAGES[spec](tmp_path) == expected, message


def derived(kind):
    """All classes that derive from this one, at any distance."""
    return [each for child in kind.__subclasses__() for each in (child, *derived(child))]


def test_every_stage_is_pinned():
    kinds = [kind for kind in derived(specs.Spec) if "stage" in vars(kind)]  # not what several derive from
    stages = {kind for kind in kinds if kind.__module__.startswith("guda.")}  # tests may have some of their own
    assert GOLDEN.keys() == STAGES.keys() == stages - PICTURES - KEPT

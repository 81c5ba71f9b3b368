"""What is said of specs that changed: the keys where something changed, and nothing of those that only follow."""

import json

from guda.core.spec import digest
from guda.plan.changes import LINES, Changes


def text(**values):
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def test_jobs_with_the_same_change_share_a_line_and_those_that_follow_have_none():
    changes, specs = Changes(), {}
    for group in ("amber", "basil", "cedar"):
        specs[group] = [text(group=group, settings={"learning_rate": rate, "steps": 3}) for rate in (2e-4, 5e-4)]
        changes.add(f"models/guda/{group}/diffusion_pytorch_model.safetensors", *specs[group])
        old, new = map(digest, specs[group])
        changes.add(f"elbo/guda/{group}/bucket-0000.safetensors", text(model=old, seed=0), text(model=new, seed=0))
    changes.add("models/guda/amber/diffusion_pytorch_model.safetensors", *specs["amber"])  # Snakemake asks again
    assert changes.lines() == [
        "models/guda/amber, models/guda/basil and 1 more (3 jobs): settings.learning_rate 0.0002 -> 0.0005"
    ]


def test_what_follows_and_changed_itself_says_only_what_changed_itself():
    changes = Changes()
    old, new = text(steps=3), text(steps=4)
    changes.add("models/base/x.safetensors", old, new)
    changes.add("elbo/base/a.safetensors", text(model=digest(old), seed=0), text(model=digest(new), seed=7))
    assert changes.lines() == ["elbo/base/a: seed 0 -> 7", "models/base: steps 3 -> 4"]


def test_a_spec_that_cannot_be_read_is_no_hindrance():
    changes = Changes()
    changes.add("models/base/x.safetensors", "no spec", text(steps=4))
    assert changes.lines() == ["models/base: spec is gone; steps is new"]


def test_every_kind_of_change_has_its_words():
    """A digest that no other change explains is of data, or of what was made again before."""
    changes = Changes()
    old = text(members=digest("a"), groups={"a": "x", "b": "y"}, steps=[1, 2], window=[1, 5], name="n" * 60, version=1)
    new = text(members=digest("b"), groups={"a": "x", "c": "z"}, steps=[1], window=[1, 6], name=None, version=2)
    changes.add("data/groups.csv", old, new)
    assert changes.lines() == [
        "data/groups: groups.b is gone; groups.c is new; members changed; "
        f'name "{"n" * 39} ... -> null; steps 2 values -> 1; version 1 -> 2; window [1, 5] -> [1, 6]'
    ]


def test_many_kinds_of_changes_are_cut_short():
    changes = Changes()
    for number in range(LINES + 3):
        changes.add(f"scores/{number}.csv", text(k=number), text(k=-1))
    assert len(changes.lines()) == LINES + 1
    assert changes.lines()[-1] == "and 3 more such lines"

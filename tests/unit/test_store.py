"""Values of single samples: what is known is not computed again, and never another sample's, step's or model's."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from accounts import GROUP, ONE, OTHER, account, folder_of_all, needs_root

import compute_elbo
import store as store_program
from guda.core.artifacts import sha256_file, write_text
from guda.core.paths import STORE, WEIGHTS
from guda.core.store import Store, StoredSpec, sample_keys

SPEC = StoredSpec(values="kl 1", files={"weights": "a"}, settings="{}")
IDS = ["amber", "basil", "cedar"]
STEPS = [10, 20]
PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2)


class Work:
    """Computes id number + step / 100, and remembers what it was asked for."""

    def __init__(self, ids=IDS, steps=STEPS):
        self.ids, self.steps, self.asked = ids, np.array(steps), []

    def __call__(self, rows, places):
        for row in rows:
            self.asked += [(self.ids[row], step) for step in self.steps[places].tolist()]
            yield np.array([[IDS.index(self.ids[row]) + self.steps[places] / 100]], "f4")[0]


def completed(folder, work, spec=SPEC, pixels=None):
    keys = sample_keys(work.ids, *([] if pixels is None else [pixels]))
    return Store(str(folder), spec).complete(keys, work.steps.tolist(), work)


def test_what_is_known_is_not_computed_again(tmp_path):
    first, again = Work(), Work(["cedar", "amber"], [20, 10])
    values, elapsed = completed(tmp_path, first)
    assert len(first.asked) == 6
    assert values == pytest.approx(np.array([[0.1, 0.2], [1.1, 1.2], [2.1, 2.2]]))
    values, known = completed(tmp_path, again)
    assert again.asked == []
    assert values == pytest.approx(np.array([[2.2, 2.1], [0.2, 0.1]]))
    # Four of the six values, and so two thirds of what all of them took.
    assert known["seconds"] == pytest.approx(elapsed["seconds"] * 2 / 3)


def test_a_new_sample_and_a_new_step_cost_themselves_alone(tmp_path):
    completed(tmp_path, Work(IDS[:2]))
    work = Work(IDS, [10, 15, 20])
    values, _ = completed(tmp_path, work)
    assert sorted(work.asked) == [("amber", 15), ("basil", 15), ("cedar", 10), ("cedar", 15), ("cedar", 20)]
    assert values == pytest.approx(np.add.outer([0, 1, 2], [0.1, 0.15, 0.2]))


@pytest.mark.parametrize(
    "other",
    [
        SPEC.model_copy(update={"values": "kl 2"}),
        SPEC.model_copy(update={"files": {"weights": "b"}}),
        SPEC.model_copy(update={"settings": '{"seed": 1}'}),
    ],
)
def test_values_of_another_model_seed_or_version_are_not_taken(tmp_path, other):
    completed(tmp_path, Work())
    work = Work()
    completed(tmp_path, work, other)
    assert len(work.asked) == 6


def test_a_changed_image_under_the_same_id_is_another_sample(tmp_path):
    completed(tmp_path, Work(), pixels=PIXELS)
    changed, work = PIXELS.copy(), Work()
    changed[1, 0, 0, 0] += 1
    completed(tmp_path, work, pixels=changed)
    assert work.asked == [("basil", 10), ("basil", 20)]


def test_keys_tell_contents_of_equal_bytes_apart():
    as_bytes, as_numbers = np.zeros((1, 4), np.uint8), np.zeros((1, 1), np.float32)
    keys = [sample_keys(["a"], each).tobytes() for each in (as_bytes, as_bytes.reshape(1, 2, 2), as_numbers)]
    assert len({*keys, sample_keys(["a"]).tobytes(), sample_keys(["b"]).tobytes()}) == 5


def test_without_a_folder_all_is_computed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        work = Work()
        completed("", work)
        assert len(work.asked) == 6
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("harm", ["cut", "altered", "empty", "another's"])
def test_a_damaged_file_is_named_and_its_values_are_computed_again(tmp_path, capsys, harm):
    completed(tmp_path, Work())
    (file,) = tmp_path.glob("*/*.safetensors")
    content = bytearray(file.read_bytes())
    if harm == "another's":
        completed(tmp_path, Work(), SPEC.model_copy(update={"settings": "other"}))
        content = next(path for path in tmp_path.glob("*/*.safetensors") if path != file).read_bytes()
    elif harm == "altered":
        content[-1] ^= 1
    file.write_bytes({"cut": content[:-3], "empty": b""}.get(harm, bytes(content)))
    work = Work()
    values, _ = completed(tmp_path, work)
    assert len(work.asked) == 6
    assert values[2, 1] == pytest.approx(2.2)
    assert f"not taken from the store: {file}" in capsys.readouterr().err
    again = Work()
    completed(tmp_path, again)  # the damaged file was replaced by that of the same values
    assert again.asked == []


def test_what_is_not_finite_is_not_kept(tmp_path):
    def diverged(rows, places):
        yield np.full((len(rows), len(places)), np.nan, "f4")

    values, _ = Store(str(tmp_path), SPEC).complete(sample_keys(IDS), STEPS, diverged)
    assert np.isnan(values).all()
    assert not [*tmp_path.rglob("*.safetensors")]


def test_an_interruption_keeps_whole_batches(tmp_path):
    def interrupted(rows, places):
        for row in rows:
            if row == 5:
                raise KeyboardInterrupt
            yield np.full((1, len(places)), row, "f4")

    asked = []

    def rest(rows, places):
        asked.extend(rows)
        yield np.array([[row] * len(places) for row in rows], "f4")

    keys = sample_keys([f"{row}" for row in range(8)])
    with pytest.raises(KeyboardInterrupt):
        Store(str(tmp_path), SPEC).complete(keys, STEPS, interrupted, together=2)
    values, _ = Store(str(tmp_path), SPEC).complete(keys, STEPS, rest, together=2)
    assert asked == [4, 5, 6, 7]
    assert values[:, 0].tolist() == [*range(8)]


def test_a_kill_costs_what_was_not_kept_yet(tmp_path, monkeypatch):
    program = f"""
import sys, time
sys.path.insert(0, {str(Path(compute_elbo.__file__).parent)!r})
import numpy as np
from guda.core import store
store.SECONDS_BETWEEN = 0.0
def work(rows, places):
    for row in rows:
        yield np.full((1, len(places)), row, "f4")
        print(row, flush=True)
        time.sleep(60 if row == 3 else 0)
spec = store.StoredSpec.parse({SPEC.canonical()!r})
store.Store({str(tmp_path)!r}, spec).complete(store.sample_keys([str(row) for row in range(6)]), [10, 20], work)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert [next(process.stdout).strip() for _ in range(4)] == ["0", "1", "2", "3"]
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    asked = []

    def rest(rows, places):
        asked.extend(rows)
        yield np.array([[row] * len(places) for row in rows], "f4")

    values, _ = Store(str(tmp_path), SPEC).complete(sample_keys([str(row) for row in range(6)]), STEPS, rest)
    assert asked == [4, 5]
    assert values[:, 1].tolist() == [*range(6)]


def test_many_at_once_give_the_same(tmp_path):
    program = f"""
import sys
sys.path.insert(0, {str(Path(compute_elbo.__file__).parent)!r})
import numpy as np
from guda.core import store
store.SECONDS_BETWEEN = 0.0
first = int(sys.argv[1])
def work(rows, places):
    for row in rows:
        yield np.full((1, len(places)), row + first, "f4")
spec = store.StoredSpec.parse({SPEC.canonical()!r})
ids = [str(row) for row in range(first, first + 20)]
values, _ = store.Store({str(tmp_path)!r}, spec).complete(store.sample_keys(ids), [10, 20], work)
assert (values[:, 0] == np.arange(first, first + 20)).all()
"""
    running = [subprocess.Popen([sys.executable, "-c", program, str(5 * run)]) for run in range(4)]
    assert [process.wait() for process in running] == [0, 0, 0, 0]
    work = Work(["3", "30"])
    values, _ = completed(tmp_path, work)
    assert work.asked == []
    assert values[:, 0].tolist() == [3, 30]
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


@needs_root
def test_accounts_share_what_the_folder_lets_them(capsys):
    with folder_of_all() as place:
        root = place / "store"
        root.mkdir()
        os.chown(root, 0, GROUP)
        root.chmod(0o2775)
        with account(ONE, umask=0o077, group=GROUP):
            completed(root, Work(IDS[:2]))
        work = Work()
        with account(OTHER, umask=0o077, group=GROUP):
            completed(root, work)
        assert work.asked == [("cedar", 10), ("cedar", 20)]
        (folder,) = root.iterdir()
        assert len([*folder.iterdir()]) == 2
        folder.chmod(0o700)
        work = Work()
        with account(OTHER, group=GROUP):  # what an account may not read is as if it were not there
            completed(root, work)
        assert len(work.asked) == 6
        assert "not kept in the store" in capsys.readouterr().err


def test_a_store_that_cannot_be_written_loses_nothing(tmp_path, capsys):
    place = tmp_path / "file"
    place.write_text("", encoding="utf-8")
    values, _ = completed(place, Work())
    assert values[2, 1] == pytest.approx(2.2)
    assert "not kept in the store" in capsys.readouterr().err


def test_pruning_keeps_what_was_computed_with_models_that_are_there(tmp_path, monkeypatch, capsys):
    results = tmp_path / "results"
    write_text(results / "models" / "base" / WEIGHTS, "weights")
    mine = SPEC.model_copy(update={"files": {WEIGHTS: sha256_file(results / "models" / "base" / WEIGHTS)}})
    completed(results / STORE, Work(), mine)
    completed(results / STORE, Work(), SPEC.model_copy(update={"files": {WEIGHTS: "0" * 64}}))
    (results / STORE / "empty").mkdir()
    for flags, left in (([], 3), (["--prune"], 1)):
        monkeypatch.setattr(sys, "argv", ["store.py", "--results", str(results), *flags])
        store_program.main()
        assert len([*(results / STORE).iterdir()]) == left
    assert "MB of other models, deleted" in capsys.readouterr().out
    work = Work()
    completed(results / STORE, work, mine)
    assert work.asked == []

"""Who may import whom: contracts in pyproject.toml for the library's rooms; rules and stages beside them."""

import subprocess
import sys
from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow_scripts"
STAGES = sorted(SCRIPTS.glob("*.py"))
RULES = sorted([ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")])
HEAVY = {"torch", "diffusers", "matplotlib", "transformers"}
LOADED = f"import sys; print(*sorted({HEAVY} & sys.modules.keys()))"


def test_rooms_import_downwards(capsys):
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_rules_import_what_plans():
    lines = [line.split() for path in RULES for line in path.read_text(encoding="utf-8").splitlines()]
    imported = {line[1] for line in lines if line[:1] in (["from"], ["import"]) and "guda" in line[1].split(".")}
    assert imported
    assert {name for name in imported if name.split(".")[1] not in ("plan", "core")} == set()


def test_planning_loads_no_torch():
    code = (
        "from guda.plan.experiment import Experiment\n"
        "from guda.plan.reports import figure_spec, likelihood_table_spec, sources_spec\n"
        "from guda.plan import resources\n"
        "from guda.plan.config import load_config\n"
        "experiment = Experiment(load_config({}))\n"
        "[experiment.method_files(name) for name in experiment.score_names]\n"
        "sources_spec(experiment), figure_spec(experiment), likelihood_table_spec(experiment)\n"
    )
    command = [sys.executable, "-c", code + LOADED]
    done = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, check=False)
    assert done.stdout == "\n", done.stderr or done.stdout


def test_a_stage_loads_torch_only_after_its_arguments_are_read():
    """A typo in a flag is answered at once, and --help does not wait for torch."""
    code = (
        "import importlib, sys\n"
        "for stage in sys.argv[1:]:\n"
        "    importlib.import_module(stage)\n"
        f"    if found := {HEAVY} & sys.modules.keys():\n"
        "        sys.exit(f'{stage} loads {found}')\n"
    )
    command = [sys.executable, "-c", code, *(stage.stem for stage in STAGES)]
    done = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_line_of_jobs_waits_for_no_table_and_no_method():
    """Thousands of jobs start with it, and most of them need neither."""
    code = "import sys, guda.jobs.cli; print(*sorted({'pandas', 'guda.methods'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=False)
    assert done.stdout == "\n", done.stderr or done.stdout


def test_no_stage_imports_another():
    names = {path.stem for path in STAGES}
    for path in STAGES:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        imported = {line[1].split(".")[0] for line in lines if line[:1] in (["from"], ["import"])}
        assert imported & names == set(), path


def test_a_job_with_a_network_starts_without_torchs_compiler():
    """It is there for whoever asks for it afterwards, and what diffusers marked for it is as it was written."""
    code = """
import sys
from guda.jobs.diffusers_import import COMPILER, import_networks_alone
import_networks_alone()
import guda.scoring.elbo, guda.models.denoisers
from diffusers import UNet2DModel
assert COMPILER not in sys.modules
assert "transformers" not in sys.modules
import torch._dynamo
assert torch._dynamo.__file__ and callable(torch._dynamo.optimize)
from diffusers.hooks.first_block_cache import FBCHeadBlockHook
assert callable(FBCHeadBlockHook.new_forward)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_stands_in_for_the_compiler_gives_way_to_it():
    code = """
import sys
from guda.jobs.diffusers_import import COMPILER, _Compiler
sys.modules[COMPILER] = stand_in = _Compiler(COMPILER)
from torch._dynamo import allow_in_graph, disable
assert allow_in_graph(3) == disable(3) == disable(recursive=False)(3) == 3
assert sys.modules[COMPILER] is stand_in
from torch._dynamo import optimize
assert callable(optimize)
assert sys.modules[COMPILER] is not stand_in
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

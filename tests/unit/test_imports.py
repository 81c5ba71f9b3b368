"""Who may import whom: the workflow plans without torch, stages know no snakemake, the library knows no stage."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow_scripts"
LIBRARY = SCRIPTS / "guda"
STAGES = {path.stem for path in SCRIPTS.glob("*.py")}
SOURCES = sorted(SCRIPTS.rglob("*.py"))
RULES = sorted([SCRIPTS.parent / "Snakefile", *(SCRIPTS.parent / "rules").glob("*.smk")])
PLANNING = ["artifacts", "attribution", "config", "config.file", "paths", "groups", "errors", "evaluation", "tables"]
PLANNING += ["earlier_results", "experiment", "resources", "specs", "text_resources", "unlearning"]
TORCH_FREE = ["config", "config.messages", "config.file", "paths", "specs", "noise", "noise_schedule", "groups"]
TORCH_FREE += ["unlearning", "experiment", "ranking", "metrics", "resources", "significance"]
TORCH_FREE += ["text_experiment", "text_resources"]
HEAVY = {"torch", "diffusers", "snakemake", "matplotlib", "transformers"}


def module_name(path):
    parts = path.relative_to(SCRIPTS).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_for_type_checkers(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(path, at_once=False):
    """Absolute names of what a file imports: anywhere in it, or only when it is itself imported."""
    found, pending = set(), [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        for node in ast.iter_child_nodes(pending.pop()):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif not (at_once and (is_for_type_checkers(node) or isinstance(node, (ast.FunctionDef, ast.Lambda)))):
                pending.append(node)
    return found


def roots(names):
    return {name.split(".")[0] for name in names}


def test_there_are_stages_and_a_library():
    assert {"train", "unlearn", "compute_elbo", "attribute", "measure"} <= STAGES
    assert len(SOURCES) > 30


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_nothing_here_imports_snakemake(path):
    assert "snakemake" not in roots(imports(path))


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("*.py")), ids=module_name)
def test_the_library_imports_no_stage(path):
    assert roots(imports(path)) & STAGES == set()


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.py")), ids=module_name)
def test_no_stage_imports_another(path):
    assert roots(imports(path)) & STAGES == set()


@pytest.mark.parametrize("name", ["metrics", "ranking", "significance"])
def test_metrics_and_rankings_never_need_torch(name):
    assert roots(imports(LIBRARY / f"{name}.py")) & HEAVY == set()


def test_stages_import_torch_only_after_their_arguments_are_read():
    """A typo in a flag is answered at once, and --help does not wait for torch."""
    late = {path.stem: roots(imports(path, at_once=True)) & HEAVY for path in SCRIPTS.glob("*.py")}
    assert {stage for stage, heavy in late.items() if heavy} == set()


def test_imports_go_one_way():
    names = {module_name(path): path for path in SOURCES}
    graph = {name: imports(path, at_once=True) & names.keys() for name, path in names.items()}
    done, stack = set(), []

    def visit(name):
        assert name not in stack, f"imported in a circle: {' -> '.join([*stack, name])}"
        if name in done:
            return
        stack.append(name)
        for imported in sorted(graph[name]):
            visit(imported)
        done.add(stack.pop())

    for name in sorted(graph):
        visit(name)


def test_rules_import_the_planning_part_only():
    imported = set()
    for path in RULES:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip().startswith(("from guda", "import guda")):
                imported.add(line.split()[1].removeprefix("guda."))
    assert imported
    assert imported <= set(PLANNING)


def test_what_the_workflow_imports_loads_no_torch():
    """In a fresh interpreter, one after the other, so that the first culprit is named."""
    code = (
        "import importlib, sys\n"
        f"for name in {TORCH_FREE}:\n"
        "    importlib.import_module('guda.' + name)\n"
        f"    heavy = sorted({HEAVY} & sys.modules.keys())\n"
        "    assert not heavy, f'guda.{name} imports {heavy}'\n"
        "from guda.config import load_config\n"
        "from guda.evaluation import likelihood_table_spec\n"
        "from guda.experiment import Experiment\n"
        "from guda.tables import figure_spec, sources_spec\n"
        "experiment = Experiment(load_config({}))\n"
        "[experiment.method_files(name) for name in experiment.score_names]\n"
        "sources_spec(experiment), figure_spec(experiment), likelihood_table_spec(experiment)\n"
        f"heavy = sorted({HEAVY} & sys.modules.keys())\n"
        "assert not heavy, f'planning imports {heavy}'\n"
        "print('planned')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=False)
    assert done.stdout == "planned\n", done.stderr

"""`snakemake --report`: every table and figure is in it, with its caption, in a category."""

import json
import re

from harness import ROOT

from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.plan.reports import final_outputs, reasons_against

CAPTIONS = ROOT / "rules" / "captions"


def in_report(page, name):
    """A value of Snakemake's report, which has them as JSON."""
    return json.JSONDecoder().raw_decode(page, page.index(f"var {name} = {{") + len(f"var {name} = "))[0]


def test_the_report_shows_all_tables_and_figures_with_caption_and_category(workflow, tmp_path):
    run = workflow.copied(tmp_path / "run")
    done = run.snakemake("--report", "report.html")
    assert done.returncode == 0, done.stderr
    page = (run.directory / "report.html").read_text(encoding="utf-8")
    results, categories = in_report(page, "results"), in_report(page, "categories")
    made = final_outputs(workflow.experiment)
    assert results.keys() == set(made)
    assert sorted(file for each in categories.values() for files in each.values() for file in files) == sorted(made)
    assert categories.keys() == {"Answers", "Training data", "Models", "Agreement with retraining"}
    captions = [" ".join(result["caption"].split()) for result in results.values()]
    assert all(len(caption) > len("<p></p>") for caption in captions)
    assert results[workflow.experiment.paths.page()]["data_uri"].startswith("data:text/html;")


def test_every_caption_is_that_of_a_table_or_figure():
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk"))
    named = re.findall(r'reported\(paths\.\w+\(\), "(\w+)", "[\w ]+"\)', rules)
    assert set(named) == {path.stem for path in CAPTIONS.glob("*.rst")}
    assert len(named) == rules.count("**reported(") == len(reasons_against(Experiment(load_config({}))))

"""Which groups of training data is a generated image attributable to? See README.md and config.yaml."""

from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")


# The configuration beside this file, unless the working folder has one of its own. A module's comes from whom it serves.
HERE = Path(str(workflow.current_basedir))
OWN = workflow.modifier.is_main_snakefile() and Path("config.yaml").exists()


configfile: "config.yaml" if OWN else str(HERE / "config.yaml")


include: "rules/common.smk"
include: "rules/data.smk"


if settings.text_to_image:

    include: "rules/prompts.smk"


include: "rules/models.smk"
include: "rules/scores.smk"
include: "rules/evaluation.smk"
include: "rules/report.smk"
include: "rules/estimate.smk"


rule all:
    default_target: True
    input:
        reports.final_outputs(experiment),
    localrule: True

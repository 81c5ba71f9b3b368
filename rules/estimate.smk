"""What a run will cost, measured on this machine. The rule has no output, so that it always runs."""


rule estimate:
    log:
        paths.log("estimate"),
        config=paths.spec_file("estimate"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    params:
        environment=environment,
        config=lambda wc: settings.model_copy(update={"results": RESULTS}).model_dump_json(by_alias=True),
        cores=lambda wc: workflow.cores or 1,
    message:
        "Measuring what a run will cost"
    shell:
        "printf %s {params.config:q} > {log.config:q};"
        ' {params.environment} python "$GUDA_SCRIPTS/estimate.py" --config {log.config:q} --cores {params.cores}'
        " 2>&1 | tee {log[0]:q}"

"""Training images, their table, and the members of each group."""


rule training_images:
    input:
        foreign=foreign(paths.images(), lambda wc: experiment.images_spec),
    output:
        paths.images(),
    log:
        paths.log("training_images"),
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        mem_mb=memory("images"),
        runtime=minutes("images"),
    params:
        environment=environment,
        spec=lambda wc: experiment.images_spec.canonical(),
    message:
        "Writing the training images"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/write_images.py" --spec {params.spec:q} --data "$GUDA_DATA" --output {output:q}'
        " > {log:q} 2>&1"


rule training_table:
    input:
        foreign=foreign(paths.table(), lambda wc: experiment.dataset.table_spec()),
    output:
        table=paths.table(),
        record=record_of(paths.table()),
    log:
        paths.log("training_table"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        mem_mb=memory("table"),
        runtime=minutes("table"),
    params:
        environment=environment,
        spec=lambda wc: experiment.dataset.table_spec().canonical(),
    message:
        "Writing the training table"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/write_table.py" --spec {params.spec:q} --data "$GUDA_DATA" --output {output.table:q}'
        " > {log:q} 2>&1"


# Membership reaches each group's file through its spec, not through the table: one file that all groups read would
# make every model stale whenever one group changes.
rule group:
    input:
        foreign=foreign(paths.group("{group}"), lambda wc: experiment.group_spec(wc.group)),
    output:
        paths.group("{group}"),
    log:
        paths.log("groups", "{group}"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        mem_mb=memory("table"),
        runtime=minutes("table"),
    params:
        environment=environment,
        spec=lambda wc: experiment.group_spec(wc.group).canonical(),
    message:
        "Writing the members of group {wildcards.group}"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/write_group.py" --spec {params.spec:q} --data "$GUDA_DATA" --output {output:q}'
        " > {log:q} 2>&1"


rule group_sizes:
    input:
        [paths.group(group) for group in experiment.groups],
        foreign=foreign(paths.group_sizes(), lambda wc: experiment.group_sizes_spec()),
    output:
        table=report(paths.group_sizes(), caption="captions/groups.rst", category="Training data"),
        record=record_of(paths.group_sizes()),
    log:
        text=paths.log("group_sizes"),
        spec=paths.spec_file("group_sizes"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        mem_mb=memory("table"),
        runtime=minutes("table"),
    params:
        environment=environment,
        spec=lambda wc: experiment.group_sizes_spec().canonical(),
        results=lambda wc: RESULTS,
    message:
        "Counting the images of each group"
    shell:
        "printf %s {params.spec:q} > {log.spec:q}; "
        '{params.environment} python "$GUDA_SCRIPTS/count_groups.py" --spec {log.spec:q} --results {params.results:q}'
        " --output {output.table:q} > {log.text:q} 2>&1"


rule calibration_sample:
    input:
        images=paths.images(),
        foreign=foreign(paths.queries(CALIBRATION), lambda wc: experiment.calibration_spec()),
    output:
        paths.queries(CALIBRATION),
    log:
        paths.log("queries", CALIBRATION),
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        mem_mb=memory("images"),
        runtime=minutes("images"),
    params:
        environment=environment,
        spec=lambda wc: experiment.calibration_spec().canonical(),
    message:
        "Choosing the training images for retain calibration"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/sample_calibration.py" --spec {params.spec:q}'
        " --images {input.images:q} --output {output:q} > {log:q} 2>&1"

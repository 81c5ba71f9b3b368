"""Training images, their table, the members of each group, and the images to attribute."""

from guda.plan.exemplars import generators


rule training_images:
    input:
        foreign=foreign(paths.images(), lambda wc: experiment.images_spec),
    output:
        paths.images(),
    log:
        **logs("training_images"),
    # All trainings wait for it.
    priority: 5
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        **needs("images"),
    params:
        **parameters(lambda wc: experiment.images_spec),
    message:
        "Writing the training images"
    shell:
        command("write_images.py", '--data "$GUDA_DATA" --output {output:q}')


rule training_table:
    input:
        foreign=foreign(paths.table(), lambda wc: experiment.dataset.table_spec()),
    output:
        **recorded(paths.table()),
    log:
        **logs("training_table"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        **needs("table"),
    params:
        **parameters(lambda wc: experiment.dataset.table_spec()),
    message:
        "Writing the training table"
    shell:
        command("write_table.py", '--data "$GUDA_DATA" --output {output.file:q}')


# Each group's membership comes from its spec, not from the table: a file that all groups read would make every model
# stale whenever one group changes.
rule group:
    input:
        foreign=foreign(paths.group("{group}"), lambda wc: experiment.group_spec(wc.group)),
    output:
        paths.group("{group}"),
    log:
        **logs("groups", "{group}"),
    # Before the trainings, the last of which would otherwise wait until nothing else is left to do.
    priority: 2
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        **needs("table"),
    params:
        **parameters(lambda wc: experiment.group_spec(wc.group)),
    message:
        "Writing the members of group {wildcards.group}"
    shell:
        command("write_group.py", '--data "$GUDA_DATA" --output {output:q}')


rule calibration_sample:
    input:
        images=paths.images(),
        foreign=foreign(paths.queries(CALIBRATION), lambda wc: experiment.calibration_spec()),
    output:
        paths.queries(CALIBRATION),
    log:
        **logs("queries", CALIBRATION),
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        **needs("images"),
    params:
        **parameters(lambda wc: experiment.calibration_spec()),
    message:
        "Choosing training images for retain calibration"
    shell:
        command("sample_calibration.py", "--images {input.images:q} --output {output:q}")


if experiment.given_queries is None:

    rule generate_queries:
        input:
            experiment.family.training_files,
            lambda wc: [file for model in generators(experiment, wc.bucket) for file in model_files(model).values()],
            weights=lambda wc: [model_files(model)["weights"] for model in generators(experiment, wc.bucket)],
            prompts=experiment.family.prompt_files("{bucket}"),
            foreign=foreign(paths.queries("{bucket}"), lambda wc: experiment.bucket_spec(wc.bucket)),
        output:
            paths.queries("{bucket}"),
        log:
            **logs("queries", "{bucket}"),
        wildcard_constraints:
            bucket=experiment.bucket_shape,
        conda:
            "../envs/guda.yaml"
        threads: settings.execution.threads
        resources:
            **needs("queries", gpu=True),
        params:
            **parameters(lambda wc: experiment.bucket_spec(wc.bucket)),
        message:
            "Generating queries, {wildcards.bucket}"
        shell:
            command(
                "generate.py",
                NETWORK,
                '--weights {input.weights:q} --pipeline "$GUDA_PIPELINE" --prompts {input.prompts:q}',
                "--output {output:q}",
            )

else:

    rule import_queries:
        input:
            foreign=foreign(paths.queries("{bucket}"), lambda wc: experiment.bucket_spec(wc.bucket)),
        output:
            paths.queries("{bucket}"),
        log:
            **logs("queries", "{bucket}"),
        wildcard_constraints:
            bucket=experiment.bucket_shape,
        conda:
            "../envs/guda.yaml"
        threads: 1
        resources:
            **needs("images"),
        params:
            **parameters(lambda wc: experiment.bucket_spec(wc.bucket)),
        message:
            "Reading queries, {wildcards.bucket}"
        shell:
            command("import_queries.py", '--data "$GUDA_DATA" --queries "$GUDA_QUERIES" --output {output:q}')


rule query_table:
    input:
        [paths.queries(bucket) for bucket in experiment.buckets],
        foreign=foreign(paths.query_table(), lambda wc: experiment.query_table_spec()),
    output:
        table=paths.query_table(),
        images=[paths.query_image(query) for query in experiment.pictured_queries],
        record=record_of(paths.query_table()),
    log:
        **logs(*OF_SET, "queries", "table"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        **needs("images"),
    params:
        **parameters(lambda wc: experiment.query_table_spec()) | COMPARED,
    message:
        "Writing the query images and their table"
    shell:
        command(
            "write_query_table.py",
            '--data "$GUDA_DATA" --queries "$GUDA_QUERIES" --config "$GUDA_CONFIG"',
            RESULTS_OF_SET,
        )

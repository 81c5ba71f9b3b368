"""The images to attribute."""

if experiment.given_queries is None and not settings.text_to_image:

    rule generate_queries:
        input:
            **model_files(BASE),
            foreign=foreign(paths.queries("{bucket}"), lambda wc: experiment.bucket_spec(wc.bucket)),
        output:
            paths.queries("{bucket}"),
        log:
            text=paths.log("queries", "{bucket}"),
            spec=paths.spec_file("queries", "{bucket}"),
        wildcard_constraints:
            bucket=BUCKET,
        conda:
            "../envs/guda.yaml"
        threads: settings.execution.threads
        resources:
            mem_mb=memory("queries"),
            runtime=minutes("queries"),
            gpu=settings.execution.gpus,
            deterministic=int(settings.execution.deterministic),
        params:
            environment=environment,
            spec=lambda wc: experiment.bucket_spec(wc.bucket).canonical(),
        message:
            "Generating queries, {wildcards.bucket}"
        shell:
            "printf %s {params.spec:q} > {log.spec:q}; "
            '{params.environment} python "$GUDA_SCRIPTS/generate_queries.py" --spec {log.spec:q} --threads {threads}'
            " --gpus {resources.gpu} --deterministic {resources.deterministic}"
            ' --base "$(dirname {input.weights:q})" --output {output:q} > {log.text:q} 2>&1'


if experiment.given_queries is not None:

    rule import_queries:
        input:
            foreign=foreign(paths.queries("{bucket}"), lambda wc: experiment.bucket_spec(wc.bucket)),
        output:
            paths.queries("{bucket}"),
        log:
            paths.log("queries", "{bucket}"),
        wildcard_constraints:
            bucket=BUCKET,
        conda:
            "../envs/guda.yaml"
        threads: 1
        resources:
            mem_mb=memory("images"),
            runtime=minutes("images"),
        params:
            environment=environment,
            spec=lambda wc: experiment.bucket_spec(wc.bucket).canonical(),
        message:
            "Reading queries, {wildcards.bucket}"
        shell:
            '{params.environment} python "$GUDA_SCRIPTS/import_queries.py" --spec {params.spec:q} --data "$GUDA_DATA"'
            ' --queries "$GUDA_QUERIES" --output {output:q} > {log:q} 2>&1'


rule query_table:
    input:
        [paths.queries(bucket) for bucket in experiment.buckets],
        foreign=foreign(paths.query_table(), lambda wc: experiment.query_table_spec()),
    output:
        table=paths.query_table(),
        images=[paths.query_image(query) for query in experiment.queries],
        record=record_of(paths.query_table()),
    log:
        paths.log("queries", "table"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        mem_mb=memory("images"),
        runtime=minutes("images"),
    params:
        environment=environment,
        spec=lambda wc: experiment.query_table_spec().canonical(),
        results=lambda wc: RESULTS,
    message:
        "Writing the query images and their table"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/write_query_table.py" --spec {params.spec:q} --data "$GUDA_DATA"'
        ' --queries "$GUDA_QUERIES" --config "$GUDA_CONFIG" --results {params.results:q} > {log:q} 2>&1'

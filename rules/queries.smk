"""The images to attribute."""


rule generate_queries:
    input:
        base=model_files(BASE),
    output:
        paths.queries("{bucket}"),
    params:
        spec=lambda wc: experiment.bucket_spec(wc.bucket).canonical(),
    log:
        paths.log("queries", "{bucket}"),
    wildcard_constraints:
        bucket=one_of(experiment.buckets),
    threads: settings.execution.threads
    conda:
        "../envs/guda.yaml"
    message:
        "Generating queries, {wildcards.bucket}"
    shell:
        "python {SCRIPTS:q}/generate_queries.py --spec {params.spec:q} --threads {threads}"
        " --base \"$(dirname {input.base[0]:q})\" --output {output:q} > {log:q} 2>&1"


rule query_table:
    input:
        [paths.queries(bucket) for bucket in experiment.buckets],
    output:
        table=paths.query_table(),
        images=[paths.query_image(query) for query in experiment.queries],
    params:
        spec=lambda wc: experiment.query_table_spec().canonical(),
    log:
        paths.log("queries", "table"),
    conda:
        "../envs/guda.yaml"
    message:
        "Writing the query images and their table"
    shell:
        "python {SCRIPTS:q}/write_query_table.py --spec {params.spec:q}"
        " --results {paths.results:q} > {log:q} 2>&1"

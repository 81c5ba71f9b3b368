"""What people look at first."""


rule query_figure:
    input:
        paths.rankings(),
        [paths.queries(bucket) for bucket in experiment.buckets],
    output:
        paths.figure(),
    params:
        spec=lambda wc: experiment.figure_spec().canonical(),
    log:
        paths.log("query_figure"),
    conda:
        "../envs/guda.yaml"
    message:
        "Drawing queries and their top groups"
    shell:
        "python {SCRIPTS:q}/plot_queries.py --spec {params.spec:q} --results {paths.results:q} --output {output:q}"
        " > {log:q} 2>&1"

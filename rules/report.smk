"""What people look at first."""

from guda.plan.reports import figure_spec


rule query_figure:
    input:
        paths.rankings(),
        [paths.queries(bucket) for bucket in experiment.buckets],
        foreign=foreign(paths.figure(), lambda wc: figure_spec(experiment)),
    output:
        picture=report(paths.figure(), caption="captions/query_figure.rst", category="Answers"),
        record=record_of(paths.figure()),
    log:
        paths.log("query_figure"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        mem_mb=memory("images"),
        runtime=minutes("images"),
    params:
        environment=environment,
        spec=lambda wc: figure_spec(experiment).canonical(),
        results=lambda wc: RESULTS,
    message:
        "Drawing queries and their top groups"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/plot_queries.py" --spec {params.spec:q} --results {params.results:q}'
        " --output {output.picture:q} > {log:q} 2>&1"

"""Agreement with the oracle, and cost."""

from guda.plan.reports import knows_contents, metrics_spec, significance_spec, sources_spec


rule metrics:
    input:
        paths.rankings(),
        [paths.scores_record(name) for name in experiment.score_names],
        foreign=foreign(paths.metrics(), lambda wc: metrics_spec(experiment)),
    output:
        table=report(paths.metrics(), caption="captions/metrics.rst", category="Agreement with retraining"),
        record=record_of(paths.metrics()),
    log:
        paths.log("metrics"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        mem_mb=memory("table"),
        runtime=minutes("table"),
    params:
        environment=environment,
        spec=lambda wc: metrics_spec(experiment).canonical(),
        results=lambda wc: RESULTS,
    message:
        "Measuring every method against the oracle"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/measure.py" --spec {params.spec:q} --results {params.results:q}'
        " --output {output.table:q} > {log:q} 2>&1"


rule metrics_by_source:
    input:
        paths.rankings(),
        [paths.scores_record(name) for name in experiment.score_names],
        paths.table(),
        paths.images(),
        [paths.group(group) for group in experiment.groups],
        [paths.queries(bucket) for bucket in experiment.buckets],
        [paths.query_table()] if knows_contents(experiment) else [],
        foreign=foreign(paths.metrics_by_source(), lambda wc: sources_spec(experiment)),
    output:
        table=report(
            paths.metrics_by_source(), caption="captions/metrics_by_source.rst", category="Agreement with retraining"
        ),
        record=record_of(paths.metrics_by_source()),
    log:
        text=paths.log("metrics_by_source"),
        spec=paths.spec_file("metrics_by_source"),
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        mem_mb=memory("images"),
        runtime=minutes("images"),
    params:
        environment=environment,
        spec=lambda wc: sources_spec(experiment).canonical(),
        results=lambda wc: RESULTS,
    message:
        "Measuring sole-source and shared contents apart"
    shell:
        "printf %s {params.spec:q} > {log.spec:q}; "
        '{params.environment} python "$GUDA_SCRIPTS/measure_by_source.py" --spec {log.spec:q} --results {params.results:q}'
        " --output {output.table:q} > {log.text:q} 2>&1"


rule significance:
    input:
        paths.rankings(),
        foreign=foreign(paths.significance(), lambda wc: significance_spec(experiment)),
    output:
        table=report(paths.significance(), caption="captions/significance.rst", category="Agreement with retraining"),
        record=record_of(paths.significance()),
    log:
        paths.log("significance"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        mem_mb=memory("table"),
        runtime=minutes("table"),
    params:
        environment=environment,
        spec=lambda wc: significance_spec(experiment).canonical(),
        results=lambda wc: RESULTS,
    message:
        "Comparing every method with the first"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/compare_methods.py" --spec {params.spec:q} --results {params.results:q}'
        " --output {output.table:q} > {log:q} 2>&1"

"""Agreement with the oracle, and cost."""


rule metrics:
    input:
        paths.rankings(),
        [paths.scores_record(name) for name in experiment.score_names],
    output:
        paths.metrics(),
    params:
        spec=lambda wc: experiment.metrics_spec().canonical(),
    log:
        paths.log("metrics"),
    conda:
        "../envs/guda.yaml"
    message:
        "Measuring every method against the oracle"
    shell:
        "python {SCRIPTS:q}/measure.py --spec {params.spec:q} --results {paths.results:q} --output {output:q}"
        " > {log:q} 2>&1"


rule metrics_by_source:
    input:
        paths.rankings(),
        [paths.scores_record(name) for name in experiment.score_names],
        paths.table(),
        paths.images(),
        [paths.group(group) for group in experiment.groups],
        [paths.queries(bucket) for bucket in experiment.buckets],
    output:
        paths.metrics_by_source(),
    params:
        spec=lambda wc: experiment.sources_spec().canonical(),
    log:
        paths.log("metrics_by_source"),
    conda:
        "../envs/guda.yaml"
    message:
        "Measuring sole-source and shared contents apart"
    shell:
        "python {SCRIPTS:q}/measure_by_source.py --spec {params.spec:q} --results {paths.results:q}"
        " --output {output:q} > {log:q} 2>&1"

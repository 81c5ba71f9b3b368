"""Scores of every method, and the rankings they give."""


rule scores:
    input:
        lambda wc: experiment.method_files(wc.method),
        foreign=foreign(paths.scores("{method}"), lambda wc: experiment.method_spec(wc.method)),
    output:
        scores=paths.scores("{method}"),
        record=paths.scores_record("{method}"),
    log:
        paths.log("scores", "{method}"),
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        mem_mb=memory("images"),
        runtime=minutes("images"),
    params:
        spec=lambda wc: experiment.method_spec(wc.method).canonical(),
        results=lambda wc: str(paths.results),
    message:
        "Attributing by {wildcards.method}"
    shell:
        'python "$GUDA_SCRIPTS/attribute.py" --spec {params.spec:q} --method {wildcards.method:q}'
        " --results {params.results:q} --output {output.scores:q} --record {output.record:q} > {log:q} 2>&1"


rule rankings:
    input:
        [paths.scores(name) for name in experiment.score_names],
        [paths.scores_record(name) for name in experiment.score_names],
        paths.query_table(),
        foreign=foreign(paths.rankings(), lambda wc: experiment.rankings_spec()),
    output:
        table=paths.rankings(),
        record=record_of(paths.rankings()),
    log:
        paths.log("rankings"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        mem_mb=memory("table"),
        runtime=minutes("table"),
    params:
        spec=lambda wc: experiment.rankings_spec().canonical(),
        results=lambda wc: str(paths.results),
    message:
        "Ranking the groups of every query"
    shell:
        'python "$GUDA_SCRIPTS/rank.py" --spec {params.spec:q} --results {params.results:q}'
        " --output {output.table:q} > {log:q} 2>&1"

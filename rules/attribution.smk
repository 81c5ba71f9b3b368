"""Scores of every method, and the rankings they give."""


rule scores:
    input:
        lambda wc: experiment.method_files(wc.method),
    output:
        scores=paths.scores("{method}"),
        record=paths.scores_record("{method}"),
    params:
        spec=lambda wc: experiment.method_spec(wc.method).canonical(),
    log:
        paths.log("scores", "{method}"),
    conda:
        "../envs/guda.yaml"
    message:
        "Attributing by {wildcards.method}"
    shell:
        "python {SCRIPTS:q}/attribute.py --spec {params.spec:q} --method {wildcards.method:q}"
        " --results {paths.results:q} --output {output.scores:q} --record {output.record:q} > {log:q} 2>&1"


rule rankings:
    input:
        [paths.scores(name) for name in experiment.score_names],
        [paths.scores_record(name) for name in experiment.score_names],
        paths.query_table(),
    output:
        paths.rankings(),
    params:
        spec=lambda wc: experiment.rankings_spec().canonical(),
    log:
        paths.log("rankings"),
    conda:
        "../envs/guda.yaml"
    message:
        "Ranking the groups of every query"
    shell:
        "python {SCRIPTS:q}/rank.py --spec {params.spec:q} --results {paths.results:q} --output {output:q}"
        " > {log:q} 2>&1"

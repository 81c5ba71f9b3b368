"""Influence of training images, scores of every method, and the rankings they give."""

from guda.plan.reports import rankings_spec


rule fisher:
    input:
        **model_files(BASE),
        images=experiment.scored_samples(TRAINING),
        foreign=foreign(paths.fisher(), lambda wc: METHODS["abu"].fisher_spec(experiment)),
    output:
        fisher=paths.fisher(),
        record=paths.fisher_record(),
    log:
        paths.log("fisher", BASE),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        mem_mb=memory("fisher"),
        runtime=minutes("fisher"),
        gpu=settings.execution.gpus,
        deterministic=int(settings.execution.deterministic),
        batch_size=settings.execution.batch_size,
    params:
        environment=environment,
        spec=lambda wc: METHODS["abu"].fisher_spec(experiment).canonical(),
    message:
        "Computing the base model's Fisher information"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/compute_fisher.py" --spec {params.spec:q} --threads {threads}'
        " --gpus {resources.gpu} --deterministic {resources.deterministic} --batch-size {resources.batch_size}"
        ' --base "$(dirname {input.weights:q})" --images {input.images:q}'
        " --output {output.fisher:q} --record {output.record:q} > {log:q} 2>&1"


rule influence:
    input:
        **model_files(BASE),
        images=experiment.scored_samples(TRAINING),
        samples=lambda wc: experiment.scored_samples(wc.bucket),
        fisher=lambda wc: [paths.fisher()] if wc.method == "abu" else [],
        foreign=foreign(
            paths.influence("{method}", "{bucket}"),
            lambda wc: METHODS[wc.method].influence_spec(experiment, wc.bucket),
        ),
    output:
        influence=paths.influence("{method}", "{bucket}"),
        record=paths.influence_record("{method}", "{bucket}"),
    log:
        paths.log("influence", "{method}", "{bucket}"),
    wildcard_constraints:
        method="abu|mucs",
        bucket=one_of(experiment.buckets),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        mem_mb=memory("influence"),
        runtime=minutes("influence"),
        gpu=settings.execution.gpus,
        deterministic=int(settings.execution.deterministic),
        batch_size=settings.execution.batch_size,
    params:
        environment=environment,
        spec=lambda wc: METHODS[wc.method].influence_spec(experiment, wc.bucket).canonical(),
    message:
        "Unlearning the queries of {wildcards.bucket} by {wildcards.method}"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/compute_influence.py" --spec {params.spec:q} --threads {threads}'
        " --gpus {resources.gpu} --deterministic {resources.deterministic} --batch-size {resources.batch_size}"
        ' --base "$(dirname {input.weights:q})" --images {input.images:q} --samples {input.samples:q}'
        " --fisher {input.fisher:q}"
        " --output {output.influence:q} --record {output.record:q} > {log:q} 2>&1"


rule gradients:
    input:
        **model_files(BASE),
        samples=lambda wc: experiment.pixels(wc.bucket),
        foreign=foreign(
            paths.features("{method}", "{bucket}"), lambda wc: METHODS[wc.method].features_spec(experiment, wc.bucket)
        ),
    output:
        features=paths.features("{method}", "{bucket}"),
        record=paths.features_record("{method}", "{bucket}"),
    log:
        paths.log("features", "{method}", "{bucket}"),
    wildcard_constraints:
        method=one_of(GRADIENT_METHODS),
        bucket=one_of([TRAINING, *experiment.buckets]),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        mem_mb=memory("gradients"),
        runtime=minutes("gradients"),
        gpu=settings.execution.gpus,
        deterministic=int(settings.execution.deterministic),
        batch_size=settings.execution.batch_size,
    params:
        environment=environment,
        spec=lambda wc: METHODS[wc.method].features_spec(experiment, wc.bucket).canonical(),
    message:
        "Computing gradients for {wildcards.method}, {wildcards.bucket}"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/compute_gradients.py" --spec {params.spec:q} --threads {threads}'
        " --gpus {resources.gpu} --deterministic {resources.deterministic} --batch-size {resources.batch_size}"
        ' --base "$(dirname {input.weights:q})"'
        " --samples {input.samples:q} --output {output.features:q} --record {output.record:q} > {log:q} 2>&1"


rule scores:
    input:
        lambda wc: experiment.method_files(wc.method),
        foreign=foreign(paths.scores("{method}"), lambda wc: experiment.method_spec(wc.method)),
    output:
        scores=paths.scores("{method}"),
        record=paths.scores_record("{method}"),
    log:
        text=paths.log("scores", "{method}"),
        spec=paths.spec_file("scores", "{method}"),
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        mem_mb=memory("scores"),
        runtime=minutes("scores"),
    params:
        environment=environment,
        spec=lambda wc: experiment.method_spec(wc.method).canonical(),
        results=lambda wc: RESULTS,
    message:
        "Attributing by {wildcards.method}"
    shell:
        "printf %s {params.spec:q} > {log.spec:q}; "
        '{params.environment} python "$GUDA_SCRIPTS/attribute.py" --spec {log.spec:q} --method {wildcards.method:q}'
        " --results {params.results:q} --output {output.scores:q} --record {output.record:q} > {log.text:q} 2>&1"


VISION_MODEL = settings.attribution.embedding.model
FEATURE_NETWORK = '"$GUDA_VISION_MODEL"' if VISION_MODEL else '"$(dirname {input.weights:q})"'


rule features:
    input:
        **({} if VISION_MODEL else model_files(BASE)),
        images=lambda wc: (experiment.pixels if VISION_MODEL else experiment.scored_samples)(wc.images),
        foreign=foreign(
            paths.features("embedding", "{images}"),
            lambda wc: METHODS["embedding"].features_spec(experiment, wc.images),
        ),
    output:
        features=paths.features("embedding", "{images}"),
        record=paths.features_record("embedding", "{images}"),
    log:
        paths.log("features", "embedding", "{images}"),
    wildcard_constraints:
        images=one_of([TRAINING, *experiment.buckets]),
    # A vision model is someone else's: what is wrong with it is to be said before anything is trained.
    priority: 3 if VISION_MODEL else 0
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        mem_mb=memory("features"),
        runtime=minutes("features"),
        gpu=settings.execution.gpus,
        deterministic=int(settings.execution.deterministic),
        batch_size=settings.execution.batch_size,
    params:
        environment=environment,
        spec=lambda wc: METHODS["embedding"].features_spec(experiment, wc.images).canonical(),
    message:
        "Computing features, {wildcards.images}"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/compute_features.py" --spec {params.spec:q} --threads {threads}'
        " --gpus {resources.gpu} --deterministic {resources.deterministic} --batch-size {resources.batch_size}"
        f" --network {FEATURE_NETWORK} --images {{input.images:q}}"
        " --output {output.features:q} --record {output.record:q} > {log:q} 2>&1"


rule rankings:
    input:
        [paths.scores(name) for name in experiment.score_names],
        [paths.scores_record(name) for name in experiment.score_names],
        paths.query_table(),
        foreign=foreign(paths.rankings(), lambda wc: rankings_spec(experiment)),
    output:
        table=report(paths.rankings(), caption="captions/rankings.rst", category="Answers"),
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
        environment=environment,
        spec=lambda wc: rankings_spec(experiment).canonical(),
        results=lambda wc: RESULTS,
    message:
        "Ranking the groups of every query"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/rank.py" --spec {params.spec:q} --results {params.results:q}'
        " --output {output.table:q} > {log:q} 2>&1"

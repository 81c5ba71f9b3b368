"""The likelihood itself, on a sample of the queries: one file per model, and its differences beside the bounds'."""

from guda.plan.reports import likelihood_models, likelihood_spec, likelihood_table_spec


rule likelihood:
    input:
        **model_files("{model}"),
        queries=[paths.queries(bucket) for bucket in experiment.buckets],
        foreign=foreign(paths.likelihood("{model}"), lambda wc: likelihood_spec(experiment, wc.model)),
    output:
        likelihood=paths.likelihood("{model}"),
        record=record_of(paths.likelihood("{model}")),
    log:
        paths.log("likelihood", "{model}"),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        mem_mb=memory("likelihood"),
        runtime=minutes("likelihood"),
        gpu=settings.execution.gpus,
        deterministic=int(settings.execution.deterministic),
        batch_size=settings.execution.batch_size,
    params:
        environment=environment,
        spec=lambda wc: likelihood_spec(experiment, wc.model).canonical(),
        results=lambda wc: RESULTS,
    message:
        "Integrating the probability flow of model {wildcards.model}"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/compute_likelihood.py" --spec {params.spec:q} --threads {threads}'
        " --gpus {resources.gpu} --deterministic {resources.deterministic} --batch-size {resources.batch_size}"
        ' --model "$(dirname {input.weights:q})" --results {params.results:q}'
        " --output {output.likelihood:q} --record {output.record:q} > {log:q} 2>&1"


rule likelihood_table:
    input:
        lambda wc: [paths.likelihood(model) for model in likelihood_table_spec(experiment).likelihoods],
        lambda wc: [paths.scores(name) for name in likelihood_models(experiment)],
        lambda wc: [paths.scores_record(name) for name in likelihood_models(experiment)],
        foreign=foreign(paths.likelihood_table(), lambda wc: likelihood_table_spec(experiment)),
    output:
        table=report(paths.likelihood_table(), caption="captions/likelihood.rst", category="Other evaluation"),
        record=record_of(paths.likelihood_table()),
    log:
        paths.log("likelihood_table"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        mem_mb=memory("table"),
        runtime=minutes("table"),
    params:
        environment=environment,
        spec=lambda wc: likelihood_table_spec(experiment).canonical(),
        results=lambda wc: RESULTS,
    message:
        "Comparing likelihood bounds with likelihoods"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/compare_likelihoods.py" --spec {params.spec:q} --results {params.results:q}'
        " --output {output.table:q} > {log:q} 2>&1"

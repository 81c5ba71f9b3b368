"""Likelihood terms: one file per model and bucket of images, for each schedule of diffusion steps."""

scheduled = paths.with_schedule("{schedule}")


rule elbo:
    input:
        unpack(lambda wc: model_files(weights_of(wc.model))),
        base=lambda wc: experiment.family.adapted_files(weights_of(wc.model)),
        samples=lambda wc: experiment.scored_samples(wc.bucket),
        scored=lambda wc: experiment.scored_files(wc.model, wc.bucket, wc.schedule),
        foreign=foreign(
            scheduled.elbo("{model}", "{bucket}"),
            lambda wc: experiment.elbo_spec(wc.model, wc.bucket, wc.schedule),
        ),
    output:
        elbo=scheduled.elbo("{model}", "{bucket}"),
        record=scheduled.elbo_record("{model}", "{bucket}"),
    log:
        paths.log("elbo{schedule}", "{model}", "{bucket}"),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        mem_mb=memory("elbo"),
        runtime=minutes("elbo"),
        gpu=settings.execution.gpus,
        deterministic=int(settings.execution.deterministic),
        batch_size=settings.execution.batch_size,
    params:
        environment=environment,
        spec=lambda wc: experiment.elbo_spec(wc.model, wc.bucket, wc.schedule).canonical(),
    message:
        "Scoring {wildcards.bucket} under model {wildcards.model}"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/compute_elbo.py" --spec {params.spec:q} --threads {threads}'
        " --gpus {resources.gpu} --deterministic {resources.deterministic} --batch-size {resources.batch_size}"
        ' --model "$(dirname {input.weights:q})" --base {input.base:q} --scored {input.scored:q}'
        " --samples {input.samples:q} --output {output.elbo:q} --record {output.record:q} > {log:q} 2>&1"


rule posteriors:
    input:
        **model_files(CLASSIFIER),
        samples=paths.queries("{bucket}"),
        foreign=foreign(paths.posteriors("{bucket}"), lambda wc: experiment.posteriors_spec(wc.bucket)),
    output:
        posteriors=paths.posteriors("{bucket}"),
        record=paths.posteriors_record("{bucket}"),
    log:
        paths.log("posteriors", "{bucket}"),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        mem_mb=memory("elbo"),
        runtime=minutes("elbo"),
        gpu=settings.execution.gpus,
        deterministic=int(settings.execution.deterministic),
        batch_size=settings.execution.batch_size,
    params:
        environment=environment,
        spec=lambda wc: experiment.posteriors_spec(wc.bucket).canonical(),
    message:
        "Classifying {wildcards.bucket}"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/classify.py" --spec {params.spec:q} --threads {threads}'
        " --gpus {resources.gpu} --deterministic {resources.deterministic} --batch-size {resources.batch_size}"
        ' --model "$(dirname {input.weights:q})"'
        " --samples {input.samples:q} --output {output.posteriors:q} --record {output.record:q} > {log:q} 2>&1"

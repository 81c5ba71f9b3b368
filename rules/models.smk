"""The base model, the oracle's retrained models, and the unlearned ones."""

if BASE not in experiment.imports:

    # Long jobs first, and the base model before all others, so that no processor is left with a training at the end.
    rule train_base:
        input:
            images=paths.images(),
            foreign=foreign(paths.model_weights(BASE), lambda wc: experiment.model_spec(BASE)),
        output:
            **model_files(BASE),
            record=paths.model_record(BASE),
        log:
            paths.log("models", BASE),
        priority: 2
        conda:
            "../envs/guda.yaml"
        threads: settings.execution.threads
        resources:
            mem_mb=memory("train"),
            runtime=minutes("train"),
            gpu=settings.execution.gpus,
            deterministic=int(settings.execution.deterministic),
            checkpoint_steps=settings.execution.checkpoint_steps,
            micro_batch_size=settings.execution.micro_batch_size or 0,
        params:
            environment=environment,
            spec=lambda wc: experiment.model_spec(BASE).canonical(),
        message:
            "Training the base model"
        shell:
            '{params.environment} python "$GUDA_SCRIPTS/train.py" --spec {params.spec:q} --threads {threads}'
            " --gpus {resources.gpu} --deterministic {resources.deterministic}"
            " --micro-batch-size {resources.micro_batch_size}"
            ' --checkpoint-steps {resources.checkpoint_steps} --cache "$GUDA_CACHE" --images {input.images:q}'
            ' --model "$(dirname {output.weights:q})" > {log:q} 2>&1'


rule train_logo:
    input:
        images=paths.images(),
        excluded=paths.group("{group}"),
        foreign=foreign(
            paths.model_weights(logo_model("{seed}", "{group}")),
            lambda wc: experiment.model_spec(logo_model(wc.seed, wc.group)),
        ),
    output:
        **model_files(logo_model("{seed}", "{group}")),
        record=paths.model_record(logo_model("{seed}", "{group}")),
    log:
        paths.log("models", logo_model("{seed}", "{group}")),
    priority: 1
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        mem_mb=memory("train"),
        runtime=minutes("train"),
        gpu=settings.execution.gpus,
        deterministic=int(settings.execution.deterministic),
        checkpoint_steps=settings.execution.checkpoint_steps,
        micro_batch_size=settings.execution.micro_batch_size or 0,
    params:
        environment=environment,
        spec=lambda wc: experiment.model_spec(logo_model(wc.seed, wc.group)).canonical(),
    message:
        "Retraining without group {wildcards.group}, seed {wildcards.seed}"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/train.py" --spec {params.spec:q} --threads {threads}'
        " --gpus {resources.gpu} --deterministic {resources.deterministic}"
        " --micro-batch-size {resources.micro_batch_size}"
        ' --checkpoint-steps {resources.checkpoint_steps} --cache "$GUDA_CACHE" --images {input.images:q}'
        " --exclude {input.excluded:q}"
        ' --model "$(dirname {output.weights:q})" > {log:q} 2>&1'


rule train_conditional:
    input:
        paths.images(),
        [paths.group(group) for group in experiment.groups],
        foreign=foreign(paths.model_weights(CONDITIONAL), lambda wc: experiment.model_spec(CONDITIONAL)),
    output:
        **model_files(CONDITIONAL),
        record=paths.model_record(CONDITIONAL),
    log:
        paths.log("models", CONDITIONAL),
    priority: 1
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        mem_mb=memory("conditional"),
        runtime=minutes("conditional"),
        gpu=settings.execution.gpus,
        deterministic=int(settings.execution.deterministic),
        checkpoint_steps=settings.execution.checkpoint_steps,
        micro_batch_size=settings.execution.micro_batch_size or 0,
    params:
        environment=environment,
        spec=lambda wc: experiment.model_spec(CONDITIONAL).canonical(),
        results=lambda wc: RESULTS,
    message:
        "Training the network that is told the group"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/train_conditional.py" --spec {params.spec:q} --threads {threads}'
        " --gpus {resources.gpu} --deterministic {resources.deterministic}"
        " --micro-batch-size {resources.micro_batch_size}"
        ' --checkpoint-steps {resources.checkpoint_steps} --cache "$GUDA_CACHE" --results {params.results:q}'
        ' --model "$(dirname {output.weights:q})" > {log:q} 2>&1'


rule train_classifier:
    input:
        paths.images(),
        [paths.group(group) for group in experiment.groups],
        foreign=foreign(paths.model_weights(CLASSIFIER), lambda wc: experiment.model_spec(CLASSIFIER)),
    output:
        **model_files(CLASSIFIER),
        record=paths.model_record(CLASSIFIER),
    log:
        paths.log("models", CLASSIFIER),
    priority: 1
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        mem_mb=memory("classifier"),
        runtime=minutes("classifier"),
        gpu=settings.execution.gpus,
        deterministic=int(settings.execution.deterministic),
        checkpoint_steps=settings.execution.checkpoint_steps,
        micro_batch_size=settings.execution.micro_batch_size or 0,
    params:
        environment=environment,
        spec=lambda wc: experiment.model_spec(CLASSIFIER).canonical(),
        results=lambda wc: RESULTS,
    message:
        "Training the classifier of groups"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/train_classifier.py" --spec {params.spec:q} --threads {threads}'
        " --gpus {resources.gpu} --deterministic {resources.deterministic}"
        " --micro-batch-size {resources.micro_batch_size}"
        ' --checkpoint-steps {resources.checkpoint_steps} --cache "$GUDA_CACHE" --results {params.results:q}'
        ' --model "$(dirname {output.weights:q})" > {log:q} 2>&1'


rule neighbors:
    input:
        images=paths.images(),
        group=paths.group("{group}"),
        foreign=foreign(
            paths.neighbors("{nearest}{group}"),
            lambda wc: experiment.neighbors_spec(wc.group, number(wc.nearest)),
        ),
    output:
        neighbors=paths.neighbors("{nearest}{group}"),
        record=paths.neighbors_record("{nearest}{group}"),
    log:
        paths.log("neighbors", "{nearest}{group}"),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        mem_mb=memory("neighbors"),
        runtime=minutes("neighbors"),
    params:
        environment=environment,
        spec=lambda wc: experiment.neighbors_spec(wc.group, number(wc.nearest)).canonical(),
    message:
        "Finding the nearest retained images of group {wildcards.group}"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/find_neighbors.py" --spec {params.spec:q} --threads {threads} --images {input.images:q}'
        " --group {input.group:q} --output {output.neighbors:q} --record {output.record:q} > {log:q} 2>&1"


rule unlearn:
    input:
        **model_files(BASE),
        images=paths.images(),
        group=paths.group("{group}"),
        neighbors=lambda wc: experiment.neighbors_files(wc.operator, wc.group),
        guidance=lambda wc: experiment.guidance_files(wc.operator),
        foreign=foreign(
            paths.model_weights(unlearned_model("{operator}", "{group}")),
            lambda wc: experiment.model_spec(unlearned_model(wc.operator, wc.group)),
        ),
    output:
        **model_files(unlearned_model("{operator}", "{group}")),
        record=paths.model_record(unlearned_model("{operator}", "{group}")),
    log:
        paths.log("models", unlearned_model("{operator}", "{group}")),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        mem_mb=memory("unlearn"),
        runtime=minutes("unlearn"),
        gpu=settings.execution.gpus,
        deterministic=int(settings.execution.deterministic),
        checkpoint_steps=settings.execution.checkpoint_steps,
        micro_batch_size=settings.execution.micro_batch_size or 0,
    params:
        environment=environment,
        spec=lambda wc: experiment.model_spec(unlearned_model(wc.operator, wc.group)).canonical(),
    message:
        "Unlearning group {wildcards.group} by {wildcards.operator}"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/unlearn.py" --spec {params.spec:q} --threads {threads}'
        " --gpus {resources.gpu} --deterministic {resources.deterministic}"
        " --micro-batch-size {resources.micro_batch_size}"
        ' --checkpoint-steps {resources.checkpoint_steps} --cache "$GUDA_CACHE" --base "$(dirname {input.weights:q})"'
        " --images {input.images:q} --group {input.group:q}"
        " --neighbors {input.neighbors:q} --guidance {input.guidance:q}"
        ' --model "$(dirname {output.weights:q})" > {log:q} 2>&1'


if experiment.imports:

    # What the model is measured on is no reason to take it over again.
    rule import_model:
        input:
            ancient(experiment.family.training_files),
            samples=ancient(experiment.scored_samples(TRAINING)),
            group=lambda wc: [] if wc.model == BASE else ancient(paths.group(wc.model.split("/")[1])),
            foreign=foreign(paths.model_weights("{model}"), lambda wc: experiment.model_spec(wc.model)),
        output:
            **model_files("{model}"),
            record=paths.model_record("{model}"),
        log:
            paths.log("models", "{model}"),
        wildcard_constraints:
            model=one_of(experiment.imports),
        # Before all trainings: a model that cannot be taken is to stop them.
        priority: 3
        conda:
            "../envs/guda.yaml"
        threads: 1
        resources:
            mem_mb=memory("import"),
            runtime=minutes("import"),
        params:
            environment=environment,
            spec=lambda wc: experiment.model_spec(wc.model).canonical(),
        message:
            "Taking over model {wildcards.model}"
        shell:
            '{params.environment} python "$GUDA_SCRIPTS/import_model.py" --spec {params.spec:q} --imports "$GUDA_IMPORTS"'
            " --name {wildcards.model:q} --samples {input.samples:q} --group {input.group:q}"
            ' --pipeline "$GUDA_PIPELINE" --model "$(dirname {output.weights:q})" > {log:q} 2>&1'

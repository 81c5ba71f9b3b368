"""Text-to-image models: the pipeline, prompts, encoded samples, and the models that are fine-tuned and unlearned."""

if experiment.family.training_files:

    rule pipeline:
        input:
            images=paths.images(),
            prompts=paths.prompts(TRAINING),
            foreign=foreign(paths.pipeline_weights(), lambda wc: experiment.family.pipeline_spec()),
        output:
            files=paths.pipeline_files(),
            record=paths.pipeline_record(),
        log:
            paths.log("pipeline"),
        priority: 3
        conda:
            "../envs/guda.yaml"
        threads: settings.execution.threads
        resources:
            mem_mb=memory("train"),
            runtime=minutes("train"),
            gpu=settings.execution.gpus,
            deterministic=int(settings.execution.deterministic),
            checkpoint_steps=settings.execution.checkpoint_steps,
        params:
            environment=environment,
            spec=lambda wc: experiment.family.pipeline_spec().canonical(),
            folder=lambda wc: experiment.on_disk.pipeline(),
            style=settings.text_to_image.prompts.style,
        message:
            "Making the small pipeline"
        shell:
            '{params.environment} python "$GUDA_SCRIPTS/make_pipeline.py" --spec {params.spec:q} --threads {threads}'
            " --gpus {resources.gpu} --deterministic {resources.deterministic}"
            " --checkpoint-steps {resources.checkpoint_steps} --images {input.images:q} --prompts {input.prompts:q}"
            " --style {params.style:q} --output {params.folder:q} > {log:q} 2>&1"


rule prompts:
    input:
        foreign=foreign(paths.prompts("{samples}"), lambda wc: experiment.family.prompts_spec(wc.samples)),
    output:
        table=paths.prompts("{samples}"),
        record=record_of(paths.prompts("{samples}")),
    log:
        paths.log("prompts", "{samples}"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        mem_mb=memory("table"),
        runtime=minutes("table"),
    params:
        environment=environment,
        spec=lambda wc: experiment.family.prompts_spec(wc.samples).canonical(),
    message:
        "Writing prompts, {wildcards.samples}"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/write_prompts.py" --spec {params.spec:q} --config "$GUDA_CONFIG"'
        " --samples {wildcards.samples:q} --output {output.table:q} > {log:q} 2>&1"


rule encoded_samples:
    input:
        experiment.family.training_files,
        images=lambda wc: experiment.pixels(wc.samples),
        prompts=paths.prompts("{samples}"),
        foreign=foreign(paths.encoded("{samples}"), lambda wc: experiment.family.encoded_spec(wc.samples)),
    output:
        encoded=paths.encoded("{samples}"),
        record=record_of(paths.encoded("{samples}")),
    log:
        paths.log("encoded", "{samples}"),
    wildcard_constraints:
        samples=f"{TRAINING}|{CALIBRATION}|{BUCKET}",
    priority: 2
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        mem_mb=memory("encoded"),
        runtime=minutes("encoded"),
        gpu=settings.execution.gpus,
        deterministic=int(settings.execution.deterministic),
        batch_size=settings.execution.batch_size,
    params:
        environment=environment,
        spec=lambda wc: experiment.family.encoded_spec(wc.samples).canonical(),
    message:
        "Encoding images and prompts, {wildcards.samples}"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/encode_samples.py" --spec {params.spec:q} --threads {threads}'
        " --gpus {resources.gpu} --deterministic {resources.deterministic} --batch-size {resources.batch_size}"
        ' --pipeline "$GUDA_PIPELINE" --images {input.images:q} --prompts {input.prompts:q}'
        " --output {output.encoded:q} --record {output.record:q} > {log:q} 2>&1"


rule encoded_anchors:
    input:
        experiment.family.training_files,
        prompts=paths.prompts(ANCHORS),
        of_images=paths.prompts(TRAINING),
        foreign=foreign(paths.encoded(ANCHORS), lambda wc: experiment.family.encoded_anchors_spec()),
    output:
        encoded=paths.encoded(ANCHORS),
        record=record_of(paths.encoded(ANCHORS)),
    log:
        paths.log("encoded", ANCHORS),
    # The shortest of the jobs that look through the whole pipeline.
    priority: 3
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        mem_mb=memory("encoded"),
        runtime=minutes("encoded"),
        gpu=settings.execution.gpus,
        deterministic=int(settings.execution.deterministic),
        batch_size=settings.execution.batch_size,
    params:
        environment=environment,
        spec=lambda wc: experiment.family.encoded_anchors_spec().canonical(),
        content=settings.text_to_image.prompts.content,
        style=settings.text_to_image.prompts.style,
    message:
        "Encoding anchor prompts"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/encode_anchors.py" --spec {params.spec:q} --threads {threads}'
        " --gpus {resources.gpu} --deterministic {resources.deterministic} --batch-size {resources.batch_size}"
        ' --pipeline "$GUDA_PIPELINE" --prompts {input.prompts:q} --of-images {input.of_images:q}'
        " --content {params.content:q} --style {params.style:q}"
        " --output {output.encoded:q} --record {output.record:q} > {log:q} 2>&1"


rule fine_tune_base:
    input:
        experiment.family.training_files,
        samples=paths.encoded(TRAINING),
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
        gradient_checkpointing=int(settings.execution.gradient_checkpointing),
    params:
        environment=environment,
        spec=lambda wc: experiment.model_spec(BASE).canonical(),
    message:
        "Fine-tuning the base model"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/fine_tune.py" --spec {params.spec:q} --threads {threads}'
        " --gpus {resources.gpu} --deterministic {resources.deterministic}"
        " --micro-batch-size {resources.micro_batch_size}"
        " --gradient-checkpointing {resources.gradient_checkpointing}"
        ' --checkpoint-steps {resources.checkpoint_steps} --cache "$GUDA_CACHE" --pipeline "$GUDA_PIPELINE"'
        ' --samples {input.samples:q} --model "$(dirname {output.weights:q})" > {log:q} 2>&1'


rule fine_tune_logo:
    input:
        experiment.family.training_files,
        samples=paths.encoded(TRAINING),
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
        gradient_checkpointing=int(settings.execution.gradient_checkpointing),
    params:
        environment=environment,
        spec=lambda wc: experiment.model_spec(logo_model(wc.seed, wc.group)).canonical(),
    message:
        "Fine-tuning without group {wildcards.group}, seed {wildcards.seed}"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/fine_tune.py" --spec {params.spec:q} --threads {threads}'
        " --gpus {resources.gpu} --deterministic {resources.deterministic}"
        " --micro-batch-size {resources.micro_batch_size}"
        " --gradient-checkpointing {resources.gradient_checkpointing}"
        ' --checkpoint-steps {resources.checkpoint_steps} --cache "$GUDA_CACHE" --pipeline "$GUDA_PIPELINE"'
        " --samples {input.samples:q} --exclude {input.excluded:q}"
        ' --model "$(dirname {output.weights:q})" > {log:q} 2>&1'


rule unlearn_by_anchors:
    input:
        **model_files(BASE),
        samples=paths.encoded(TRAINING),
        anchors=paths.encoded(ANCHORS),
        group=paths.group("{group}"),
        foreign=foreign(
            model_files(unlearned_model("{operator}", "{group}"))["weights"],
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
        gradient_checkpointing=int(settings.execution.gradient_checkpointing),
    params:
        environment=environment,
        spec=lambda wc: experiment.model_spec(unlearned_model(wc.operator, wc.group)).canonical(),
    message:
        "Unlearning group {wildcards.group} by anchors, {wildcards.operator}"
    shell:
        '{params.environment} python "$GUDA_SCRIPTS/unlearn_by_anchors.py" --spec {params.spec:q} --threads {threads}'
        " --gpus {resources.gpu} --deterministic {resources.deterministic}"
        " --micro-batch-size {resources.micro_batch_size}"
        " --gradient-checkpointing {resources.gradient_checkpointing}"
        ' --checkpoint-steps {resources.checkpoint_steps} --cache "$GUDA_CACHE" --base "$(dirname {input.weights:q})"'
        " --samples {input.samples:q} --anchors {input.anchors:q} --group {input.group:q}"
        ' --model "$(dirname {output.weights:q})" > {log:q} 2>&1'


if experiment.given_queries is None:

    rule generate_prompted_queries:
        input:
            experiment.family.training_files,
            **model_files(BASE),
            prompts=paths.prompts("{bucket}"),
            foreign=foreign(paths.queries("{bucket}"), lambda wc: experiment.bucket_spec(wc.bucket)),
        output:
            paths.queries("{bucket}"),
        log:
            text=paths.log("queries", "{bucket}"),
            spec=paths.spec_file("queries", "{bucket}"),
        wildcard_constraints:
            bucket=BUCKET,
        conda:
            "../envs/guda.yaml"
        threads: settings.execution.threads
        resources:
            mem_mb=memory("queries"),
            runtime=minutes("queries"),
            gpu=settings.execution.gpus,
            deterministic=int(settings.execution.deterministic),
        params:
            environment=environment,
            spec=lambda wc: experiment.bucket_spec(wc.bucket).canonical(),
        message:
            "Generating queries from prompts, {wildcards.bucket}"
        shell:
            "printf %s {params.spec:q} > {log.spec:q}; "
            '{params.environment} python "$GUDA_SCRIPTS/generate_prompted_queries.py" --spec {log.spec:q} --threads {threads}'
            ' --gpus {resources.gpu} --deterministic {resources.deterministic} --pipeline "$GUDA_PIPELINE"'
            ' --base "$(dirname {input.weights:q})" --prompts {input.prompts:q} --output {output:q} > {log.text:q} 2>&1'

"""Only for text-to-image models: the pipeline that they are fine-tuned from, prompts, and encoded samples."""

if experiment.family.training_files:

    rule pipeline:
        input:
            images=paths.images(),
            prompts=paths.prompts(TRAINING),
            foreign=foreign(paths.pipeline_weights(), lambda wc: experiment.fine_tuned.pipeline_spec()),
        output:
            files=paths.pipeline_files(),
            record=paths.pipeline_record(),
        log:
            **logs("pipeline"),
        priority: 4
        conda:
            "../envs/guda.yaml"
        threads: settings.execution.threads
        resources:
            **needs("train", gpu=True),
        params:
            **parameters(lambda wc: experiment.fine_tuned.pipeline_spec()),
            folder=lambda wc: experiment.on_disk.pipeline(),
            style=settings.text_to_image.prompts.style,
        message:
            "Training the small pipeline"
        shell:
            command(
                "make_pipeline.py",
                NETWORK,
                "--images {input.images:q} --prompts {input.prompts:q} --style {params.style:q}",
                "--output {params.folder:q}",
            )


rule prompts:
    input:
        foreign=foreign(paths.prompts("{samples}"), lambda wc: experiment.fine_tuned.prompts_spec(wc.samples)),
    output:
        **recorded(paths.prompts("{samples}")),
    log:
        **logs("prompts", "{samples}"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        **needs("table"),
    params:
        **parameters(lambda wc: experiment.fine_tuned.prompts_spec(wc.samples)),
    message:
        "Writing prompts, {wildcards.samples}"
    shell:
        command("write_prompts.py", '--config "$GUDA_CONFIG" --samples {wildcards.samples:q} --output {output.file:q}')


rule encoded_samples:
    input:
        experiment.family.training_files,
        images=lambda wc: experiment.pixels(wc.samples),
        prompts=paths.prompts("{samples}"),
        foreign=foreign(paths.encoded("{samples}"), lambda wc: experiment.fine_tuned.encoded_spec(wc.samples)),
    output:
        **recorded(paths.encoded("{samples}")),
    log:
        **logs("encoded", "{samples}"),
    wildcard_constraints:
        samples=f"{TRAINING}|{CALIBRATION}|({CONDITIONAL}/)?{experiment.bucket_shape}",
    priority: 3
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        **needs("encoded", gpu=True),
    params:
        **parameters(lambda wc: experiment.fine_tuned.encoded_spec(wc.samples)),
    message:
        "Encoding images and prompts, {wildcards.samples}"
    shell:
        command(
            "encode_samples.py",
            NETWORK,
            '--pipeline "$GUDA_PIPELINE" --images {input.images:q} --prompts {input.prompts:q}',
            RECORDED,
        )


rule encoded_anchors:
    input:
        experiment.family.training_files,
        prompts=paths.prompts(ANCHORS),
        of_images=paths.prompts(TRAINING),
        foreign=foreign(paths.encoded(ANCHORS), lambda wc: experiment.fine_tuned.encoded_anchors_spec()),
    output:
        **recorded(paths.encoded(ANCHORS)),
    log:
        **logs("encoded", ANCHORS),
    # The shortest of the jobs that check the full pipeline.
    priority: 4
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        **needs("encoded", gpu=True),
    params:
        **parameters(lambda wc: experiment.fine_tuned.encoded_anchors_spec()),
        content=settings.text_to_image.prompts.content,
        style=settings.text_to_image.prompts.style,
    message:
        "Encoding anchor prompts"
    shell:
        command(
            "encode_anchors.py",
            NETWORK,
            '--pipeline "$GUDA_PIPELINE" --prompts {input.prompts:q} --of-images {input.of_images:q}',
            "--content {params.content:q} --style {params.style:q}",
            RECORDED,
        )

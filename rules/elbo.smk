"""Likelihood terms: one file per model and bucket of images."""


rule elbo:
    input:
        model=lambda wc: model_files(wc.model),
        samples=paths.queries("{bucket}"),
    output:
        elbo=paths.elbo("{model}", "{bucket}"),
        record=paths.elbo_record("{model}", "{bucket}"),
    params:
        spec=lambda wc: experiment.elbo_spec(wc.model, wc.bucket).canonical(),
    log:
        paths.log("elbo", "{model}", "{bucket}"),
    threads: settings.execution.threads
    conda:
        "../envs/guda.yaml"
    message:
        "Scoring {wildcards.bucket} under model {wildcards.model}"
    shell:
        "python {SCRIPTS:q}/compute_elbo.py --spec {params.spec:q} --threads {threads}"
        " --batch-size {settings.execution.batch_size} --model \"$(dirname {input.model[0]:q})\""
        " --samples {input.samples:q} --output {output.elbo:q} --record {output.record:q} > {log:q} 2>&1"

"""The base model, the oracle's retrained models, and the unlearned ones."""


rule train_base:
    input:
        images=paths.images(),
    output:
        model_files(BASE),
        record=paths.model_record(BASE),
    params:
        spec=lambda wc: experiment.model_spec(BASE).canonical(),
    log:
        paths.log("models", BASE),
    threads: settings.execution.threads
    conda:
        "../envs/guda.yaml"
    message:
        "Training the base model"
    shell:
        "python {SCRIPTS:q}/train.py --spec {params.spec:q} --threads {threads}"
        " --images {input.images:q} --model \"$(dirname {output[0]:q})\" > {log:q} 2>&1"


rule train_logo:
    input:
        images=paths.images(),
        group=paths.group("{group}"),
    output:
        model_files(logo_model("{seed}", "{group}")),
        record=paths.model_record(logo_model("{seed}", "{group}")),
    params:
        spec=lambda wc: experiment.model_spec(logo_model(wc.seed, wc.group)).canonical(),
    log:
        paths.log("models", logo_model("{seed}", "{group}")),
    threads: settings.execution.threads
    conda:
        "../envs/guda.yaml"
    message:
        "Retraining without group {wildcards.group}, seed {wildcards.seed}"
    shell:
        "python {SCRIPTS:q}/train.py --spec {params.spec:q} --threads {threads} --images {input.images:q}"
        " --exclude {input.group:q} --model \"$(dirname {output[0]:q})\" > {log:q} 2>&1"


rule neighbors:
    input:
        images=paths.images(),
        group=paths.group("{group}"),
    output:
        neighbors=paths.neighbors("{group}"),
        record=paths.neighbors_record("{group}"),
    params:
        spec=lambda wc: experiment.neighbors_spec(wc.group).canonical(),
    log:
        paths.log("neighbors", "{group}"),
    threads: settings.execution.threads
    conda:
        "../envs/guda.yaml"
    message:
        "Finding the nearest retained images of group {wildcards.group}"
    shell:
        "python {SCRIPTS:q}/find_neighbors.py --spec {params.spec:q} --threads {threads} --images {input.images:q}"
        " --group {input.group:q} --output {output.neighbors:q} --record {output.record:q} > {log:q} 2>&1"


rule unlearn:
    input:
        base=model_files(BASE),
        images=paths.images(),
        group=paths.group("{group}"),
        neighbors=paths.neighbors("{group}"),
    output:
        model_files(unlearned_model("guda", "{group}")),
        record=paths.model_record(unlearned_model("guda", "{group}")),
    params:
        spec=lambda wc: experiment.model_spec(unlearned_model("guda", wc.group)).canonical(),
    log:
        paths.log("models", unlearned_model("guda", "{group}")),
    threads: settings.execution.threads
    conda:
        "../envs/guda.yaml"
    message:
        "Unlearning group {wildcards.group}"
    shell:
        "python {SCRIPTS:q}/unlearn.py --spec {params.spec:q} --threads {threads}"
        " --base \"$(dirname {input.base[0]:q})\" --images {input.images:q} --group {input.group:q}"
        " --neighbors {input.neighbors:q} --model \"$(dirname {output[0]:q})\" > {log:q} 2>&1"

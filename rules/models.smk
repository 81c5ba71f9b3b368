"""Models: the base model, retrained and unlearned counterfactual models, and networks of all groups."""

LOGO = logo_model("{seed}", "{group}")
PROXIED = proxy_model("{group}")
UNLEARNED = unlearned_model("{operator}", "{group}")


# The spec determines what `train.py` trains, from scratch or from a pipeline. Long jobs first.
rule train_logo:
    input:
        experiment.family.training_files,
        samples=experiment.scored_samples(TRAINING),
        excluded=paths.group("{group}"),
        foreign=foreign_model(LOGO),
    output:
        **made_model(LOGO),
    log:
        **logs("models", LOGO),
    priority: 1
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        **needs("train", gpu=True),
    params:
        **parameters(model_spec(LOGO)),
    message:
        "Retraining without group {wildcards.group}, seed {wildcards.seed}"
    shell:
        command(
            "train.py",
            NETWORK,
            "--samples {input.samples:q} --exclude {input.excluded:q} --results {params.results:q}",
            '--pipeline "$GUDA_PIPELINE" --data "$GUDA_DATA" --model "$(dirname {output.weights:q})"',
        )


if BASE not in experiment.imports:

    # Before all others, so that no training is left running alone at the end.
    use rule train_logo as train_base with:
        input:
            experiment.family.training_files,
            samples=experiment.scored_samples(TRAINING),
            excluded=[],
            foreign=foreign_model(BASE),
        output:
            **made_model(BASE),
        log:
            **logs("models", BASE),
        priority: 3
        params:
            **parameters(model_spec(BASE)),
        message:
            "Training the base model"


if settings.oracle.own_base:

    use rule train_logo as train_own_base with:
        input:
            experiment.family.training_files,
            samples=experiment.scored_samples(TRAINING),
            excluded=[],
            foreign=foreign_model(own_base("{seed}")),
        output:
            **made_model(own_base("{seed}")),
        log:
            **logs("models", own_base("{seed}")),
        params:
            **parameters(model_spec(own_base("{seed}"))),
        message:
            "Training the oracle's own base model, seed {wildcards.seed}"


use rule train_logo as train_proxy with:
    input:
        experiment.family.training_files,
        samples=experiment.scored_samples(TRAINING),
        excluded=lambda wc: [] if wc.group == BASE else paths.group(wc.group),
        foreign=foreign_model(PROXIED),
    output:
        **made_model(PROXIED),
    log:
        **logs("models", PROXIED),
    resources:
        **needs("proxy", gpu=True),
    params:
        **parameters(model_spec(PROXIED)),
    message:
        "Training proxy model {wildcards.group}"


use rule train_logo as train_conditional with:
    input:
        [paths.group(group) for group in experiment.groups],
        samples=paths.images(),
        excluded=[],
        foreign=foreign_model(CONDITIONAL),
    output:
        **made_model(CONDITIONAL),
    log:
        **logs("models", CONDITIONAL),
    resources:
        **needs("conditional", gpu=True),
    params:
        **parameters(model_spec(CONDITIONAL)) | COMPARED,
    message:
        "Training the group-conditional network"


use rule train_logo as train_classifier with:
    input:
        [paths.group(group) for group in experiment.groups],
        samples=paths.images(),
        excluded=[],
        foreign=foreign_model(CLASSIFIER),
    output:
        **made_model(CLASSIFIER),
    log:
        **logs("models", CLASSIFIER),
    resources:
        **needs("classifier", gpu=True),
    params:
        **parameters(model_spec(CLASSIFIER)) | COMPARED,
    message:
        "Training the group classifier"


if settings.lds.subsets or settings.removal.queries:

    use rule train_logo as train_without with:
        input:
            experiment.family.training_files,
            samples=experiment.scored_samples(TRAINING),
            excluded=paths.exclusion("{model}"),
            foreign=foreign_model("{model}"),
        output:
            **made_model("{model}"),
        log:
            **logs("models", "{model}"),
        wildcard_constraints:
            model=f"{SUBSETS}|{REMOVED}",
        params:
            **parameters(model_spec("{model}")),
        message:
            "Training {wildcards.model}"


if experiment.query_source == "exemplars":
    TUNED = tuned_model(QUERY_SET, "{group}")

    rule tune:
        input:
            **model_files(BASE),
            samples=experiment.scored_samples(TRAINING),
            foreign=foreign_model(TUNED),
        output:
            **made_model(TUNED),
        log:
            **logs("models", TUNED),
        conda:
            "../envs/guda.yaml"
        threads: settings.execution.threads
        resources:
            **needs("tune", gpu=True),
        params:
            **parameters(model_spec(TUNED)),
        message:
            "Fine-tuning the base model on exemplars of group {wildcards.group}"
        shell:
            command(
                "tune.py",
                NETWORK,
                '--base "$(dirname {input.weights:q})" --samples {input.samples:q}',
                '--model "$(dirname {output.weights:q})"',
            )


rule neighbors:
    input:
        images=paths.images(),
        group=paths.group("{group}"),
        foreign=foreign(paths.neighbors("{nearest}{group}"), neighbors_spec),
    output:
        **recorded(paths.neighbors("{nearest}{group}")),
    log:
        **logs("neighbors", "{nearest}{group}"),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        **needs("neighbors"),
    params:
        **parameters(neighbors_spec),
    message:
        "Finding the nearest retained images of group {wildcards.group}"
    shell:
        command("find_neighbors.py", "--threads {threads} --images {input.images:q} --group {input.group:q}", RECORDED)


rule unlearn:
    input:
        **model_files(BASE),
        samples=experiment.scored_samples(TRAINING),
        group=paths.group("{group}"),
        files=lambda wc: experiment.operator_files(wc.operator, wc.group),
        foreign=foreign_model(UNLEARNED),
    output:
        **made_model(UNLEARNED),
    log:
        **logs("models", UNLEARNED),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        **needs("unlearn", gpu=True),
    params:
        **parameters(model_spec(UNLEARNED)),
    message:
        "Unlearning group {wildcards.group} with {wildcards.operator}"
    shell:
        command(
            "unlearn.py",
            NETWORK,
            '--base "$(dirname {input.weights:q})" --samples {input.samples:q} --group {input.group:q}',
            '--files {input.files:q} --model "$(dirname {output.weights:q})"',
        )


if experiment.imports:

    # Changes in what the model is measured on are no reason to import it again.
    rule import_model:
        input:
            ancient(experiment.family.training_files),
            samples=ancient(experiment.scored_samples(TRAINING)),
            group=lambda wc: [] if wc.model == BASE else ancient(paths.group(wc.model.split("/")[1])),
            foreign=foreign_model("{model}"),
        output:
            **made_model("{model}"),
        log:
            **logs("models", "{model}"),
        wildcard_constraints:
            model=one_of(experiment.imports),
        # Before all trainings, so that a model that cannot be imported stops them.
        priority: 4
        conda:
            "../envs/guda.yaml"
        threads: 1
        resources:
            **needs("import"),
        params:
            **parameters(model_spec("{model}")),
        message:
            "Importing model {wildcards.model}"
        shell:
            command(
                "import_model.py",
                '--imports "$GUDA_IMPORTS" --name {wildcards.model:q} --samples {input.samples:q} --group {input.group:q}',
                '--pipeline "$GUDA_PIPELINE" --model "$(dirname {output.weights:q})"',
            )

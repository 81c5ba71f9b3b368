"""ELBO terms and other network outputs, one file per model and bucket, and the scores of every method."""

from guda.plan.precomputed import (
    FEATURES_OF_GRADIENTS,
    features_spec,
    fisher_spec,
    gradients_spec,
    influence_spec,
    kernel_features,
    kernel_spec,
    mixture_spec,
)
from guda.plan.reports import likelihood_spec

scheduled = paths.with_schedule("{schedule}")


rule elbo:
    input:
        unpack(lambda wc: model_files(experiment.weights_of(wc.model))),
        base=lambda wc: experiment.family.adapted_files(experiment.weights_of(wc.model)),
        samples=lambda wc: experiment.scored_samples(experiment.elbo_samples(wc.model, wc.bucket)),
        scored=lambda wc: experiment.scored_files(wc.model, wc.bucket, wc.schedule),
        foreign=foreign(scheduled.elbo("{model}", "{bucket}"), elbo_spec),
    output:
        **recorded(scheduled.elbo("{model}", "{bucket}")),
    log:
        **logs("elbo{schedule}", "{model}", "{bucket}"),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        **needs("elbo", gpu=True),
    params:
        **parameters(elbo_spec),
    message:
        "Scoring {wildcards.bucket} under model {wildcards.model}"
    shell:
        command(
            "compute_elbo.py",
            NETWORK,
            '--model "$(dirname {input.weights:q})" --base {input.base:q} --scored {input.scored:q}',
            "--samples {input.samples:q}",
            RECORDED,
        )


rule posteriors:
    input:
        **model_files(CLASSIFIER),
        samples=paths.queries("{bucket}"),
        foreign=foreign(paths.posteriors("{bucket}"), lambda wc: experiment.posteriors_spec(wc.bucket)),
    output:
        **recorded(paths.posteriors("{bucket}")),
    log:
        **logs("posteriors", "{bucket}"),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        **needs("elbo", gpu=True),
    params:
        **parameters(lambda wc: experiment.posteriors_spec(wc.bucket)),
    message:
        "Classifying {wildcards.bucket}"
    shell:
        command("classify.py", NETWORK, '--model "$(dirname {input.weights:q})" --samples {input.samples:q}', RECORDED)


rule mixture:
    input:
        conditional=model_files(CONDITIONAL)["weights"],
        conditional_config=model_files(CONDITIONAL)["config"],
        classifier=model_files(CLASSIFIER)["weights"],
        classifier_config=model_files(CLASSIFIER)["config"],
        samples=paths.queries("{bucket}"),
        foreign=foreign(paths.mixture("{bucket}"), lambda wc: mixture_spec(experiment, wc.bucket)),
    output:
        **recorded(paths.mixture("{bucket}")),
    log:
        **logs("mixture", "{bucket}"),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        **needs("mixture", gpu=True),
    params:
        **parameters(lambda wc: mixture_spec(experiment, wc.bucket)),
    message:
        "Scoring {wildcards.bucket} under mixtures of groups"
    shell:
        command(
            "compute_mixture.py",
            NETWORK,
            '--conditional "$(dirname {input.conditional:q})" --classifier "$(dirname {input.classifier:q})"',
            "--samples {input.samples:q}",
            RECORDED,
        )


rule likelihood:
    input:
        unpack(lambda wc: model_files(wc.model)),
        base=lambda wc: experiment.family.adapted_files(wc.model),
        samples=[experiment.scored_samples(bucket) for bucket in experiment.buckets],
        foreign=foreign(paths.likelihood("{model}"), lambda wc: likelihood_spec(experiment, wc.model)),
    output:
        **recorded(paths.likelihood("{model}")),
    log:
        **logs(*OF_SET, "likelihood", "{model}"),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        **needs("likelihood", gpu=True),
    params:
        **parameters(lambda wc: likelihood_spec(experiment, wc.model)) | COMPARED,
    message:
        "Integrating the probability flow ODE of model {wildcards.model}"
    shell:
        command(
            "compute_likelihood.py",
            NETWORK,
            '--model "$(dirname {input.weights:q})" --base {input.base:q} --samples {input.samples:q}',
            RECORDED,
        )


rule fisher:
    input:
        **model_files(BASE),
        images=experiment.scored_samples(TRAINING),
        foreign=foreign(paths.fisher(), lambda wc: fisher_spec(experiment)),
    output:
        **recorded(paths.fisher()),
    log:
        **logs("fisher", BASE),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        **needs("fisher", gpu=True),
    params:
        **parameters(lambda wc: fisher_spec(experiment)),
    message:
        "Computing the base model's Fisher information"
    shell:
        command(
            "compute_fisher.py", NETWORK, '--base "$(dirname {input.weights:q})" --images {input.images:q}', RECORDED
        )


rule influence:
    input:
        **model_files(BASE),
        images=experiment.scored_samples(TRAINING),
        samples=lambda wc: experiment.scored_samples(wc.bucket),
        fisher=lambda wc: [paths.fisher()] if wc.method == "abu" else [],
        foreign=foreign(
            paths.influence("{method}", "{bucket}"), lambda wc: influence_spec(experiment, wc.method, wc.bucket)
        ),
    output:
        **recorded(paths.influence("{method}", "{bucket}")),
    log:
        **logs("influence", "{method}", "{bucket}"),
    wildcard_constraints:
        method="abu|mucs",
        bucket=one_of(experiment.buckets),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        **needs("influence", gpu=True),
    params:
        **parameters(lambda wc: influence_spec(experiment, wc.method, wc.bucket)),
    message:
        "Unlearning the queries of {wildcards.bucket} with {wildcards.method}"
    shell:
        command(
            "compute_influence.py",
            NETWORK,
            '--base "$(dirname {input.weights:q})" --images {input.images:q} --samples {input.samples:q}',
            "--fisher {input.fisher:q}",
            RECORDED,
        )


rule kernel:
    input:
        [paths.group(group) for group in experiment.groups],
        **model_files(BASE),
        images=experiment.scored_samples(TRAINING),
        samples=lambda wc: experiment.scored_samples(wc.bucket),
        features=lambda wc: kernel_features(experiment, wc.bucket),
        foreign=foreign(paths.kernel("{bucket}"), lambda wc: kernel_spec(experiment, wc.bucket)),
    output:
        **recorded(paths.kernel("{bucket}")),
    log:
        **logs("kernel", "{bucket}"),
    wildcard_constraints:
        bucket=one_of(experiment.buckets),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        **needs("kernel", gpu=True),
    params:
        **parameters(lambda wc: kernel_spec(experiment, wc.bucket)),
    message:
        "Shifting the base model's predictions for {wildcards.bucket} by a kernel"
    shell:
        command(
            "compute_kernel.py",
            NETWORK,
            '--base "$(dirname {input.weights:q})" --images {input.images:q} --samples {input.samples:q}',
            "--features {input.features:q} --results {params.results:q}",
            RECORDED,
        )


rule gradients:
    input:
        **model_files(BASE),
        samples=lambda wc: experiment.scored_samples(wc.bucket),
        foreign=foreign(
            paths.features("{method}", "{bucket}"), lambda wc: gradients_spec(experiment, wc.method, wc.bucket)
        ),
    output:
        **recorded(paths.features("{method}", "{bucket}")),
    log:
        **logs("features", "{method}", "{bucket}"),
    wildcard_constraints:
        method=one_of(FEATURES_OF_GRADIENTS),
        bucket=one_of([TRAINING, *experiment.buckets]),
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        **needs("gradients", gpu=True),
    params:
        **parameters(lambda wc: gradients_spec(experiment, wc.method, wc.bucket)),
    message:
        "Computing gradients for {wildcards.method}, {wildcards.bucket}"
    shell:
        command(
            "compute_gradients.py",
            NETWORK,
            '--base "$(dirname {input.weights:q})" --samples {input.samples:q}',
            RECORDED,
        )


VISION_MODEL = settings.attribution.embedding.model
FEATURE_NETWORK = '"$GUDA_VISION_MODEL"' if VISION_MODEL else '"$(dirname {input.weights:q})"'


rule features:
    input:
        **({} if VISION_MODEL else model_files(BASE)),
        images=lambda wc: (experiment.pixels if VISION_MODEL else experiment.scored_samples)(wc.images),
        foreign=foreign(paths.features("embedding", "{images}"), lambda wc: features_spec(experiment, wc.images)),
    output:
        **recorded(paths.features("embedding", "{images}")),
    log:
        **logs("features", "embedding", "{images}"),
    wildcard_constraints:
        images=one_of([TRAINING, *experiment.buckets]),
    # Vision models come from third parties: their problems should be reported before anything is trained.
    priority: 4 if VISION_MODEL else 0
    conda:
        "../envs/guda.yaml"
    threads: settings.execution.threads
    resources:
        **needs("features", gpu=True),
    params:
        **parameters(lambda wc: features_spec(experiment, wc.images)),
    message:
        "Computing features, {wildcards.images}"
    shell:
        command("compute_features.py", NETWORK, f"--network {FEATURE_NETWORK} --images {{input.images:q}}", RECORDED)


rule scores:
    input:
        lambda wc: experiment.method_files(wc.method),
        foreign=foreign(paths.scores("{method}"), lambda wc: experiment.method_spec(wc.method)),
    output:
        **recorded(paths.scores("{method}")),
    log:
        **logs(*OF_SET, "scores", "{method}"),
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        **needs("scores"),
    params:
        **parameters(lambda wc: experiment.method_spec(wc.method)) | COMPARED,
    message:
        "Attributing with {wildcards.method}"
    shell:
        command("attribute.py", "--method {wildcards.method:q}", RESULTS_OF_SET, RECORDED)

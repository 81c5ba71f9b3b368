"""Evaluation by retraining: the linear datamodeling score, and counterfactual removal."""

from guda.plan.reports import (
    lds_spec,
    removal_figure_spec,
    removal_sets_files,
    removal_sets_spec,
    removal_spec,
    subset_models,
)

SUBSETS = rf"subset-{settings.lds.seed}/\d+"
REMOVED = rf"removed-{settings.oracle.seeds[0]}/[0-9a-f]+"

if settings.lds.subsets:

    rule subset_exclusion:
        input:
            groups=lambda wc: [paths.group(group) for group in experiment.left_out_groups[int(Path(wc.model).name)]],
            foreign=foreign(paths.exclusion("{model}"), lambda wc: experiment.exclusion_spec(wc.model)),
        output:
            paths.exclusion("{model}"),
        log:
            paths.log("exclusions", "{model}"),
        wildcard_constraints:
            model=SUBSETS,
        localrule: True
        conda:
            "../envs/guda.yaml"
        threads: 1
        resources:
            mem_mb=memory("table"),
            runtime=minutes("table"),
        params:
            environment=environment,
            spec=lambda wc: experiment.exclusion_spec(wc.model).canonical(),
        message:
            "Writing what {wildcards.model} is trained without"
        shell:
            '{params.environment} python "$GUDA_SCRIPTS/write_exclusion.py" --spec {params.spec:q} --groups {input.groups:q}'
            " --output {output:q} > {log:q} 2>&1"

    rule lds:
        input:
            paths.rankings(),
            [paths.elbo(model, bucket) for model in subset_models(experiment) for bucket in experiment.buckets],
            [paths.model_record(model) for model in [BASE, *subset_models(experiment)]],
            foreign=foreign(paths.lds(), lambda wc: lds_spec(experiment)),
        output:
            table=report(paths.lds(), caption="captions/lds.rst", category="Other evaluation"),
            record=record_of(paths.lds()),
        log:
            text=paths.log("lds"),
            spec=paths.spec_file("lds"),
        localrule: True
        conda:
            "../envs/guda.yaml"
        threads: 1
        resources:
            mem_mb=memory("table"),
            runtime=minutes("table"),
        params:
            environment=environment,
            spec=lambda wc: lds_spec(experiment).canonical(),
            results=lambda wc: RESULTS,
        message:
            "Measuring how well scores add up"
        shell:
            "printf %s {params.spec:q} > {log.spec:q}; "
            '{params.environment} python "$GUDA_SCRIPTS/measure_lds.py" --spec {log.spec:q} --results {params.results:q}'
            " --output {output.table:q} > {log.text:q} 2>&1"


if settings.removal.queries:

    # What is removed follows from the rankings, so which models there are is known once these are made.
    checkpoint removal_sets:
        input:
            removal_sets_files(experiment),
            foreign=foreign(paths.removal_sets(), lambda wc: removal_sets_spec(experiment)),
        output:
            table=paths.removal_sets(),
            members=paths.removal_members(),
            record=record_of(paths.removal_sets()),
        log:
            text=paths.log("removal_sets"),
            spec=paths.spec_file("removal_sets"),
        conda:
            "../envs/guda.yaml"
        threads: 1
        resources:
            mem_mb=memory("images"),
            runtime=minutes("images"),
        params:
            environment=environment,
            spec=lambda wc: removal_sets_spec(experiment).canonical(),
            results=lambda wc: RESULTS,
        message:
            "Choosing what is removed for each query"
        shell:
            "printf %s {params.spec:q} > {log.spec:q}; "
            '{params.environment} python "$GUDA_SCRIPTS/choose_removals.py" --spec {log.spec:q} --results {params.results:q}'
            " --output {output.table:q} --members {output.members:q} > {log.text:q} 2>&1"

    # A set is named by the digest of its images, so a file of this name never changes: new sets make no old one stale,
    # which is why the file that they come from is ancient here.
    rule removal_exclusion:
        input:
            sets=ancient(paths.removal_members()),
            foreign=foreign(paths.exclusion("{model}"), lambda wc: experiment.exclusion_spec(wc.model)),
        output:
            paths.exclusion("{model}"),
        log:
            paths.log("exclusions", "{model}"),
        wildcard_constraints:
            model=REMOVED,
        localrule: True
        conda:
            "../envs/guda.yaml"
        threads: 1
        resources:
            mem_mb=memory("table"),
            runtime=minutes("table"),
        params:
            environment=environment,
            spec=lambda wc: experiment.exclusion_spec(wc.model).canonical(),
        message:
            "Writing what {wildcards.model} is trained without"
        shell:
            '{params.environment} python "$GUDA_SCRIPTS/write_exclusion.py" --spec {params.spec:q} --sets {input.sets:q}'
            " --output {output:q} > {log:q} 2>&1"

    if experiment.given_queries is None:

        use rule generate_queries as regenerate with:
            input:
                **model_files("{model}"),
                foreign=foreign(
                    paths.regenerated("{model}", "{bucket}"),
                    lambda wc: experiment.regenerated_spec(wc.model, wc.bucket),
                ),
            output:
                paths.regenerated("{model}", "{bucket}"),
            log:
                text=paths.log("regenerated", "{model}", "{bucket}"),
                spec=paths.spec_file("regenerated", "{model}", "{bucket}"),
            params:
                environment=environment,
                spec=lambda wc: experiment.regenerated_spec(wc.model, wc.bucket).canonical(),
            message:
                "Generating {wildcards.bucket} again, by model {wildcards.model}"

    rule removal:
        input:
            paths.removal_sets(),
            removal_files,
            foreign=foreign(paths.removal(), lambda wc: removal_spec(experiment)),
        output:
            table=report(paths.removal(), caption="captions/removal.rst", category="Other evaluation"),
            record=record_of(paths.removal()),
        log:
            text=paths.log("removal"),
            spec=paths.spec_file("removal"),
        conda:
            "../envs/guda.yaml"
        threads: 1
        resources:
            mem_mb=memory("images"),
            runtime=minutes("images"),
        params:
            environment=environment,
            spec=lambda wc: removal_spec(experiment).canonical(),
            results=lambda wc: RESULTS,
        message:
            "Measuring what removal does"
        shell:
            "printf %s {params.spec:q} > {log.spec:q}; "
            '{params.environment} python "$GUDA_SCRIPTS/measure_removal.py" --spec {log.spec:q} --results {params.results:q}'
            " --output {output.table:q} > {log.text:q} 2>&1"

    rule removal_figure:
        input:
            paths.removal(),
            foreign=foreign(paths.removal_figure(), lambda wc: removal_figure_spec(experiment)),
        output:
            picture=report(paths.removal_figure(), caption="captions/removal.rst", category="Other evaluation"),
            record=record_of(paths.removal_figure()),
        log:
            paths.log("removal_figure"),
        localrule: True
        conda:
            "../envs/guda.yaml"
        threads: 1
        resources:
            mem_mb=memory("table"),
            runtime=minutes("table"),
        params:
            environment=environment,
            spec=lambda wc: removal_figure_spec(experiment).canonical(),
            results=lambda wc: RESULTS,
        message:
            "Drawing what removal does"
        shell:
            '{params.environment} python "$GUDA_SCRIPTS/plot_removal.py" --spec {params.spec:q} --results {params.results:q}'
            " --output {output.picture:q} > {log:q} 2>&1"


if settings.lds.subsets or settings.removal.queries:

    use rule train_logo as train_without with:
        input:
            images=paths.images(),
            excluded=paths.exclusion("{model}"),
            foreign=foreign(paths.model_weights("{model}"), lambda wc: experiment.model_spec(wc.model)),
        output:
            **model_files("{model}"),
            record=paths.model_record("{model}"),
        log:
            paths.log("models", "{model}"),
        wildcard_constraints:
            model=f"{SUBSETS}|{REMOVED}",
        params:
            environment=environment,
            spec=lambda wc: experiment.model_spec(wc.model).canonical(),
        message:
            "Training {wildcards.model}"

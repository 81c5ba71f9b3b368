"""The tables made by `make_table.py`, the figures drawn by `plot.py`, and the models retrained for them."""

from guda.plan import reports
from guda.plan.exemplars import exemplars_spec


rule rankings:
    input:
        [paths.scores(name) for name in experiment.score_names],
        [paths.scores_record(name) for name in experiment.score_names],
        paths.query_table(),
        foreign=foreign(paths.rankings(), lambda wc: reports.rankings_spec(experiment)),
    output:
        **reported(paths.rankings(), "rankings", "Answers"),
    log:
        **logs(*OF_SET, "rankings"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        **needs("table"),
    params:
        **parameters(lambda wc: reports.rankings_spec(experiment)) | COMPARED,
    message:
        "Ranking the groups of every query"
    shell:
        command("make_table.py", RESULTS_OF_SET, "--output {output.file:q}")


use rule rankings as group_sizes with:
    input:
        [paths.group(group) for group in experiment.groups],
        foreign=foreign(paths.group_sizes(), lambda wc: experiment.group_sizes_spec()),
    output:
        **reported(paths.group_sizes(), "groups", "Training data"),
    log:
        **logs("group_sizes"),
    localrule: True
    params:
        **parameters(lambda wc: experiment.group_sizes_spec()) | COMPARED,
    message:
        "Counting the images of each group"


use rule rankings as metrics with:
    input:
        paths.rankings(),
        [paths.scores_record(name) for name in experiment.score_names],
        foreign=foreign(paths.metrics(), lambda wc: reports.metrics_spec(experiment)),
    output:
        **reported(paths.metrics(), "metrics", "Agreement with retraining"),
    log:
        **logs(*OF_SET, "metrics"),
    localrule: True
    params:
        **parameters(lambda wc: reports.metrics_spec(experiment)) | COMPARED,
    message:
        "Measuring every method against the oracle"


use rule rankings as metrics_by_source with:
    input:
        paths.rankings(),
        [paths.scores_record(name) for name in experiment.score_names],
        paths.table(),
        paths.images(),
        [paths.group(group) for group in experiment.groups],
        [paths.queries(bucket) for bucket in experiment.buckets],
        [paths.query_table()] if reports.knows_contents(experiment) else [],
        foreign=foreign(paths.metrics_by_source(), lambda wc: reports.sources_spec(experiment)),
    output:
        **reported(paths.metrics_by_source(), "metrics_by_source", "Agreement with retraining"),
    log:
        **logs(*OF_SET, "metrics_by_source"),
    resources:
        **needs("images"),
    params:
        **parameters(lambda wc: reports.sources_spec(experiment)) | COMPARED,
    message:
        "Measuring sole-source and shared contents separately"


use rule rankings as significance with:
    input:
        paths.rankings(),
        foreign=foreign(paths.significance(), lambda wc: reports.significance_spec(experiment)),
    output:
        **reported(paths.significance(), "significance", "Agreement with retraining"),
    log:
        **logs(*OF_SET, "significance"),
    localrule: True
    params:
        **parameters(lambda wc: reports.significance_spec(experiment)) | COMPARED,
    message:
        "Comparing every method with the first"


if reports.repeated(experiment):

    use rule rankings as reliability with:
        input:
            reports.reliability_files(experiment),
            foreign=foreign(paths.reliability(), lambda wc: reports.reliability_spec(experiment)),
        output:
            **reported(paths.reliability(), "reliability", "Answers"),
        log:
            **logs(*OF_SET, "reliability"),
        resources:
            **needs("scores"),
        params:
            **parameters(lambda wc: reports.reliability_spec(experiment)) | COMPARED,
        message:
            "Comparing unlearning runs with several seeds"


use rule rankings as likelihood_table with:
    input:
        lambda wc: [paths.likelihood(model) for model in reports.likelihood_table_spec(experiment).likelihoods],
        lambda wc: [paths.scores(name) for name in reports.likelihood_models(experiment)],
        lambda wc: [paths.scores_record(name) for name in reports.likelihood_models(experiment)],
        foreign=foreign(paths.likelihood_table(), lambda wc: reports.likelihood_table_spec(experiment)),
    output:
        **reported(paths.likelihood_table(), "likelihood", "Other evaluation"),
    log:
        **logs(*OF_SET, "likelihood_table"),
    localrule: True
    params:
        **parameters(lambda wc: reports.likelihood_table_spec(experiment)) | COMPARED,
    message:
        "Comparing ELBOs with likelihoods"


rule query_figure:
    input:
        paths.rankings(),
        [paths.queries(bucket) for bucket in experiment.buckets],
        foreign=foreign(paths.figure(), lambda wc: reports.figure_spec(experiment)),
    output:
        **reported(paths.figure(), "query_figure", "Answers"),
    log:
        **logs(*OF_SET, "query_figure"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        **needs("images"),
    params:
        **parameters(lambda wc: reports.figure_spec(experiment)) | COMPARED,
    message:
        "Drawing queries and their top groups"
    shell:
        command("plot.py", RESULTS_OF_SET, "--output {output.file:q}")


use rule query_figure as cost_figure with:
    input:
        paths.metrics(),
        foreign=foreign(paths.cost_figure(), lambda wc: reports.cost_figure_spec(experiment)),
    output:
        **reported(paths.cost_figure(), "cost", "Agreement with retraining"),
    log:
        **logs(*OF_SET, "cost_figure"),
    localrule: True
    resources:
        **needs("table"),
    params:
        **parameters(lambda wc: reports.cost_figure_spec(experiment)) | COMPARED,
    message:
        "Drawing agreement against cost"


if experiment.query_source == "exemplars":

    use rule rankings as exemplars with:
        input:
            paths.rankings(),
            paths.query_table(),
            [paths.scores_record(name) for name in experiment.score_names],
            foreign=foreign(paths.exemplars(), lambda wc: exemplars_spec(experiment)),
        output:
            **reported(paths.exemplars(), "exemplars", "Answers"),
        log:
            **logs(*OF_SET, "exemplars"),
        localrule: True
        params:
            **parameters(lambda wc: exemplars_spec(experiment)) | COMPARED,
        message:
            "Finding the exemplars' groups in the rankings"


if settings.screen:

    use rule rankings as screen with:
        input:
            paths.scores(settings.screen.method),
            paths.scores_record(settings.screen.method),
            foreign=foreign(paths.screen(), lambda wc: reports.screen_spec(experiment)),
        output:
            **reported(paths.screen(), "screen", "Answers"),
        log:
            **logs(*OF_SET, "screen"),
        localrule: True
        params:
            **parameters(lambda wc: reports.screen_spec(experiment)) | COMPARED,
        message:
            "Proposing groups to unlearn"


if experiment.variants:

    use rule rankings as sweep with:
        input:
            [paths.scores(name) for name in [*experiment.oracles, *experiment.variants]],
            [paths.scores_record(name) for name in [*experiment.oracles, *experiment.variants]],
            foreign=foreign(paths.sweep(), lambda wc: reports.sweep_spec(experiment)),
        output:
            **reported(paths.sweep(), "sweep", "Other evaluation"),
        log:
            **logs(*OF_SET, "sweep"),
        localrule: True
        params:
            **parameters(lambda wc: reports.sweep_spec(experiment)) | COMPARED,
        message:
            "Measuring every variant against every oracle seed"

    use rule query_figure as sweep_figure with:
        input:
            paths.sweep(),
            record_of(paths.sweep()),
            foreign=foreign(paths.sweep_figure(), lambda wc: reports.sweep_figure_spec(experiment)),
        output:
            **reported(paths.sweep_figure(), "sweep", "Other evaluation"),
        log:
            **logs(*OF_SET, "sweep_figure"),
        localrule: True
        resources:
            **needs("table"),
        params:
            **parameters(lambda wc: reports.sweep_figure_spec(experiment)),
        message:
            "Drawing the variants and the chosen one"


if settings.lds.subsets:

    rule subset_exclusion:
        input:
            groups=lambda wc: [paths.group(group) for group in experiment.left_out_groups[int(Path(wc.model).name)]],
            foreign=foreign(paths.exclusion("{model}"), lambda wc: experiment.exclusion_spec(wc.model)),
        output:
            paths.exclusion("{model}"),
        log:
            **logs("exclusions", "{model}"),
        wildcard_constraints:
            model=SUBSETS,
        priority: 2
        localrule: True
        conda:
            "../envs/guda.yaml"
        threads: 1
        resources:
            **needs("table"),
        params:
            **parameters(lambda wc: experiment.exclusion_spec(wc.model)),
        message:
            "Writing what {wildcards.model} is trained without"
        shell:
            command("write_exclusion.py", "--groups {input.groups:q} --output {output:q}")

    use rule rankings as lds with:
        input:
            paths.rankings(),
            [paths.elbo(model, bucket) for model in reports.lds_models(experiment) for bucket in experiment.buckets],
            [paths.model_record(model) for model in reports.lds_models(experiment)],
            foreign=foreign(paths.lds(), lambda wc: reports.lds_spec(experiment)),
        output:
            **reported(paths.lds(), "lds", "Other evaluation"),
        log:
            **logs(*OF_SET, "lds"),
        localrule: True
        params:
            **parameters(lambda wc: reports.lds_spec(experiment)) | COMPARED,
        message:
            "Computing the linear datamodeling score"


if settings.removal.queries:

    # What is removed follows from the rankings, so the models are known only once these are made.
    checkpoint removal_sets:
        input:
            reports.removal_sets_files(experiment),
            foreign=foreign(paths.removal_sets(), lambda wc: reports.removal_sets_spec(experiment)),
        output:
            table=paths.removal_sets(),
            members=paths.removal_members(),
            record=record_of(paths.removal_sets()),
        log:
            **logs(*OF_SET, "removal_sets"),
        conda:
            "../envs/guda.yaml"
        threads: 1
        resources:
            **needs("images"),
        params:
            **parameters(lambda wc: reports.removal_sets_spec(experiment)) | COMPARED,
        message:
            "Choosing what to remove for each query"
        shell:
            command(
                "choose_removals.py",
                RESULTS_OF_SET,
                "--output {output.table:q} --members {output.members:q}",
            )

    # A set is named by the digest of its images, so its file never changes: new sets do not make old ones stale, which
    # is why the file that they come from is ancient here.
    rule removal_exclusion:
        input:
            sets=ancient(paths.removal_members()),
            foreign=foreign(paths.exclusion("{model}"), lambda wc: experiment.exclusion_spec(wc.model)),
        output:
            paths.exclusion("{model}"),
        log:
            **logs("exclusions", "{model}"),
        wildcard_constraints:
            model=REMOVED,
        priority: 2
        localrule: True
        conda:
            "../envs/guda.yaml"
        threads: 1
        resources:
            **needs("table"),
        params:
            **parameters(lambda wc: experiment.exclusion_spec(wc.model)),
        message:
            "Writing what {wildcards.model} is trained without"
        shell:
            command("write_exclusion.py", "--sets {input.sets:q} --output {output:q}")

    if experiment.query_source == "generated":

        use rule generate_queries as regenerate with:
            input:
                experiment.family.training_files,
                **model_files("{model}"),
                prompts=experiment.family.prompt_files("{bucket}"),
                foreign=foreign(
                    paths.regenerated("{model}", "{bucket}"),
                    lambda wc: experiment.regenerated_spec(wc.model, wc.bucket),
                ),
            output:
                paths.regenerated("{model}", "{bucket}"),
            log:
                **logs("regenerated", "{model}", "{bucket}"),
            params:
                **parameters(lambda wc: experiment.regenerated_spec(wc.model, wc.bucket)),
            message:
                "Regenerating {wildcards.bucket} with model {wildcards.model}"

    use rule rankings as removal with:
        input:
            paths.removal_sets(),
            removal_files,
            foreign=foreign(paths.removal(), lambda wc: reports.removal_spec(experiment)),
        output:
            **reported(paths.removal(), "removal", "Other evaluation"),
        log:
            **logs(*OF_SET, "removal"),
        resources:
            **needs("images"),
        params:
            **parameters(lambda wc: reports.removal_spec(experiment)) | COMPARED,
        message:
            "Measuring the effect of removal"

    use rule query_figure as removal_figure with:
        input:
            paths.removal(),
            foreign=foreign(paths.removal_figure(), lambda wc: reports.removal_figure_spec(experiment)),
        output:
            **reported(paths.removal_figure(), "removal", "Other evaluation"),
        log:
            **logs(*OF_SET, "removal_figure"),
        localrule: True
        resources:
            **needs("table"),
        params:
            **parameters(lambda wc: reports.removal_figure_spec(experiment)) | COMPARED,
        message:
            "Drawing the effect of removal"

"""Other settings tried, measured against every seed of the oracle."""

from guda.plan.reports import sweep_figure_spec, sweep_spec

if experiment.variants:

    rule sweep:
        input:
            [paths.scores(name) for name in [*experiment.oracles, *experiment.variants]],
            [paths.scores_record(name) for name in [*experiment.oracles, *experiment.variants]],
            foreign=foreign(paths.sweep(), lambda wc: sweep_spec(experiment)),
        output:
            table=report(paths.sweep(), caption="captions/sweep.rst", category="Other evaluation"),
            record=record_of(paths.sweep()),
        log:
            paths.log("sweep"),
        localrule: True
        conda:
            "../envs/guda.yaml"
        threads: 1
        resources:
            mem_mb=memory("table"),
            runtime=minutes("table"),
        params:
            environment=environment,
            spec=lambda wc: sweep_spec(experiment).canonical(),
            results=lambda wc: RESULTS,
        message:
            "Measuring every variant against every seed of the oracle"
        shell:
            '{params.environment} python "$GUDA_SCRIPTS/measure_sweep.py" --spec {params.spec:q} --results {params.results:q}'
            " --output {output.table:q} > {log:q} 2>&1"

    rule sweep_figure:
        input:
            paths.sweep(),
            record_of(paths.sweep()),
            foreign=foreign(paths.sweep_figure(), lambda wc: sweep_figure_spec(experiment)),
        output:
            picture=report(paths.sweep_figure(), caption="captions/sweep.rst", category="Other evaluation"),
            record=record_of(paths.sweep_figure()),
        log:
            paths.log("sweep_figure"),
        localrule: True
        conda:
            "../envs/guda.yaml"
        threads: 1
        resources:
            mem_mb=memory("table"),
            runtime=minutes("table"),
        params:
            environment=environment,
            spec=lambda wc: sweep_figure_spec(experiment).canonical(),
        message:
            "Drawing the variants and the one that is chosen"
        shell:
            '{params.environment} python "$GUDA_SCRIPTS/plot_sweep.py" --spec {params.spec:q} --table {input[0]:q}'
            " --output {output.picture:q} > {log:q} 2>&1"

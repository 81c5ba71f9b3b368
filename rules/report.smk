"""Whether the models are any good, and the report page with what is computed for it alone."""

from guda.plan import page, quality


use rule rankings as quality with:
    input:
        quality.quality_files(experiment),
        foreign=foreign(paths.quality(), lambda wc: quality.quality_spec(experiment)),
    output:
        **reported(paths.quality(), "quality", "Models"),
    log:
        **logs(*OF_SET, "quality"),
    resources:
        **needs("quality"),
    params:
        **parameters(lambda wc: quality.quality_spec(experiment)) | COMPARED,
    message:
        "Comparing generated images with training images, and unlearned models with the base model"


use rule rankings as curves with:
    input:
        [paths.model_record(model) for model in quality.curves_spec(experiment).models],
        foreign=foreign(paths.curves(), lambda wc: quality.curves_spec(experiment)),
    output:
        **reported(paths.curves(), "curves", "Models"),
    log:
        **logs("curves"),
    localrule: True
    params:
        **parameters(lambda wc: quality.curves_spec(experiment)) | COMPARED,
    message:
        "Collecting learning curves"


use rule query_figure as curves_figure with:
    input:
        paths.curves(),
        foreign=foreign(paths.curves_figure(), lambda wc: quality.curves_figure_spec(experiment)),
    output:
        **reported(paths.curves_figure(), "curves", "Models"),
    log:
        **logs("curves_figure"),
    localrule: True
    resources:
        **needs("table"),
    params:
        **parameters(lambda wc: quality.curves_figure_spec(experiment)) | COMPARED,
    message:
        "Drawing learning curves"


use rule query_figure as samples_figure with:
    input:
        paths.images(),
        [paths.queries(bucket) for bucket in quality.samples_figure_spec(experiment).buckets],
        foreign=foreign(paths.samples_figure(), lambda wc: quality.samples_figure_spec(experiment)),
    output:
        **reported(paths.samples_figure(), "samples", "Models"),
    log:
        **logs(*OF_SET, "samples_figure"),
    localrule: True
    resources:
        **needs("images"),
    params:
        **parameters(lambda wc: quality.samples_figure_spec(experiment)) | COMPARED,
    message:
        "Drawing queries beside training images"


# The flag for unlearned models that are adapters of the base model.
ADAPTERS = "--adapters" if page.has_adapters(experiment) else ""


if page.has_maps(experiment):

    rule maps:
        input:
            paths.rankings(),
            page.unlearned_files(experiment),
            samples=[experiment.scored_samples(bucket) for bucket in page.maps_spec(experiment).samples],
            foreign=foreign(paths.maps(), lambda wc: page.maps_spec(experiment)),
        output:
            **recorded(paths.maps()),
        log:
            **logs(*OF_SET, "maps"),
        conda:
            "../envs/guda.yaml"
        threads: settings.execution.threads
        resources:
            **needs("elbo", gpu=True),
        params:
            **parameters(lambda wc: page.maps_spec(experiment)) | COMPARED,
        message:
            "Mapping where in the images the evidence lies"
        shell:
            command("compute_maps.py", NETWORK, RESULTS_OF_SET, ADAPTERS, "--samples {input.samples:q}", RECORDED)


if page.is_redrawn(experiment):

    rule redrawn:
        input:
            paths.rankings(),
            experiment.family.training_files,
            page.unlearned_files(experiment),
            prompts=[
                file
                for bucket in page.shown_queries(experiment, settings.page.redrawn)
                for file in experiment.family.prompt_files(bucket)
            ],
            foreign=foreign(paths.redrawn(), lambda wc: page.redrawn_spec(experiment)),
        output:
            **recorded(paths.redrawn()),
        log:
            **logs(*OF_SET, "redrawn"),
        conda:
            "../envs/guda.yaml"
        threads: settings.execution.threads
        resources:
            **needs("queries", gpu=True),
        params:
            **parameters(lambda wc: page.redrawn_spec(experiment)) | COMPARED,
        message:
            "Regenerating images without their first groups"
        shell:
            command(
                "redraw.py",
                NETWORK,
                RESULTS_OF_SET,
                ADAPTERS,
                '--pipeline "$GUDA_PIPELINE" --prompts {input.prompts:q}',
                RECORDED,
            )


rule report:
    input:
        page.page_files(experiment),
        [paths.scores_record(name) for name in experiment.score_names],
        foreign=foreign(paths.page(), lambda wc: page.page_spec(experiment)),
    output:
        **reported(paths.page(), "page", "Answers"),
    log:
        **logs(*OF_SET, "page"),
    localrule: True
    conda:
        "../envs/guda.yaml"
    threads: 1
    resources:
        **needs("images"),
    params:
        **parameters(lambda wc: page.page_spec(experiment)) | COMPARED,
    message:
        "Writing the report page"
    shell:
        command("write_report.py", RESULTS_OF_SET, "--output {output.file:q}")

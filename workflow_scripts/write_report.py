"""Write the HTML report, report.html: one self-contained file that needs no network."""

from guda.jobs.cli import add_results_arguments, run, spec_text, stage_parser


def main() -> None:
    parser = stage_parser(__doc__)
    add_results_arguments(parser, "the report's inputs")
    parser.add_argument("--output", required=True, help="HTML file to write, with its record beside it")
    args = parser.parse_args()

    from guda.core.artifacts import write_text
    from guda.core.paths import Paths, record_of
    from guda.core.records import Stopwatch, write_record
    from guda.jobs.page import page_content
    from guda.report.page import page_html
    from guda.specs import PageSpec

    spec = PageSpec.parse(spec_text(args.spec))
    stopwatch = Stopwatch()
    write_text(args.output, page_html(page_content(spec, Paths(args.results, args.query_set))))
    write_record(record_of(args.output), spec, [args.output], **stopwatch.elapsed())


if __name__ == "__main__":
    run(main)

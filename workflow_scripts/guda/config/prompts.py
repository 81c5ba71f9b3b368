"""Section `text_to_image.prompts`: the prompts of images."""

from __future__ import annotations

import re

from pydantic import Field, PositiveInt, field_validator, model_validator

from guda.config.section import Location, Section, Seed

DESCRIPTORS = "descriptors"
PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


def placeholders(template: str) -> list[str]:
    """The names in braces of a template, in order. Raises ValueError for braces that hold none."""
    if set("{}") & set(PLACEHOLDER.sub("", template)):
        raise ValueError(f"{template!r} has a brace without its pair, or without a name; write {{column}}")
    return PLACEHOLDER.findall(template)


class Prompts(Section):
    table: Location | None = Field(
        None,
        min_length=1,
        description="A table of prompts (JSONL, CSV or Parquet): rows of `prompt`, and columns shared with the "
        "training table that match rows to images (such as style and object of UnlearnCanvas); optionally"
        " `descriptors`. null: prompts are made from `template`.",
    )
    captions: Location | None = Field(
        None, min_length=1, description="Captions instead: an MS-COCO annotations file. null: none."
    )
    template: str = Field(
        "An artwork of {object}, with {descriptors}",
        min_length=1,
        description="Prompt template, with columns in braces; {descriptors} is a sample of the phrases that describe "
        "the image's style.",
    )
    content_template: str = Field("An artwork of {object}", min_length=1, description="The same without the style.")
    descriptors: Location | None = Field(
        None,
        min_length=1,
        description="JSON file of each style's phrases, or JSONL with rows of a style and its `descriptors`. null: "
        "those of `table` or of the dataset, else each style's name.",
    )
    per_prompt: PositiveInt = Field(3, description="Phrases per prompt. Fewer give less of the style away.")
    prompts_per_image: PositiveInt = Field(2, description="Different prompts per training image.")
    anchors_per_pair: PositiveInt = Field(4, description="Different anchor prompts for each content in each style.")
    style: str = Field(
        "style",
        min_length=1,
        description="Column of the training table whose value anchors replace. Groups must be values of `style`.",
    )
    content: str = Field("object", min_length=1, description="Column whose value anchors keep.")
    seed: Seed = Field(0, description="Random seed of the sampled phrases.")

    @field_validator("template", "content_template")
    @classmethod
    def _braces_are_pairs(cls, value: str) -> str:
        placeholders(value)
        return value

    @model_validator(mode="after")
    def _fits(self) -> Prompts:
        if self.table is not None and self.captions is not None:
            raise ValueError("`table` and `captions` both say what the images' prompts are; give one of them")
        if self.style == self.content:
            raise ValueError(f"`style` and `content` are both {self.style!r}; name two columns")
        for name in placeholders(self.content_template):
            if name in (DESCRIPTORS, self.style):
                raise ValueError(f"`content_template` holds {{{name}}}, but tells of the content alone; remove it")
        return self

"""Section `text_to_image.prompts`: the words that images are told with."""

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
        description="Table of prompts (JSONL, CSV or Parquet), a row each: `prompt`, columns that the training table "
        "has too, by which rows belong to images, and `descriptors`, if there are any. null: prompts are made from "
        "`template`.",
    )
    captions: Location | None = Field(
        None, min_length=1, description="JSON file of captions in COCO's format, one or more an image. null: none."
    )
    template: str = Field(
        "An artwork of {object}, with {descriptors}",
        min_length=1,
        description="A prompt, with columns of the training table in braces; {descriptors} are some of those of the "
        "image's style.",
    )
    content_template: str = Field(
        "An artwork of {object}", min_length=1, description="The same with the style removed; the content alone."
    )
    descriptors: Location | None = Field(
        None,
        min_length=1,
        description="JSON file with the phrases that describe each style, or a table with the style's column and "
        "`descriptors`. null: those of `table` or of the dataset, else each style's name.",
    )
    per_prompt: PositiveInt = Field(3, description="Descriptors in a prompt, drawn from those of the style.")
    prompts_per_image: PositiveInt = Field(2, description="Prompts of each training image, drawn or chosen.")
    anchors_per_pair: PositiveInt = Field(4, description="Anchor prompts of each pair of a content and a style.")
    style: str = Field("style", min_length=1, description="Column of the styles, which anchors exchange.")
    content: str = Field("object", min_length=1, description="Column of the contents, which anchors keep.")
    seed: Seed = Field(0, description="Seed of the descriptors in prompts.")

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

"""Section `data`: the training images and their groups."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from guda.config.section import Fraction, Location, Section, Seed

INCLUDED = ("digits", "styled_digits")  # datasets that come with scikit-learn


class Subset(Section):
    count: PositiveInt = Field(description="Images that are chosen; all, if there are fewer.")
    seed: Seed = Field(0, description="Seed of the choice, with the image's own id.")


class NoisyPartition(Section):
    fraction: Fraction = Field(0.05, description="Share of each group's images that get into another group.")
    block_size: PositiveInt = Field(25, description="Images that are moved together.")
    seed: Seed = Field(0, description="Seed of which images move, with their ids, and where to.")


class Data(Section):
    dataset: Literal[
        "digits", "styled_digits", "idx", "cifar10", "cifar100", "image_folder", "huggingface", "coco", "unlearncanvas"
    ] = Field(
        "digits",
        description="Training images: scikit-learn's handwritten digits, as they are or drawn in styles, IDX files as "
        "of MNIST, CIFAR, a folder of image files, a dataset of Hugging Face, COCO, or UnlearnCanvas.",
    )
    folder: Location | None = Field(
        None,
        min_length=1,
        description="Folder of the images or of the dataset's files, for all datasets but the digits.",
    )
    hub: str | None = Field(
        None, description="For dataset huggingface, instead of `folder`: a hub id OWNER/NAME@COMMIT, of Parquet files."
    )
    split: str = Field("train", min_length=1, description="Split whose images are used, of dataset huggingface.")
    table: Location | None = Field(
        None,
        min_length=1,
        description="Table (CSV, JSON or Parquet) with a row per image for dataset image_folder: `file` in the "
        "folder, any columns. For dataset coco, its JSON file of annotations, of captions or of objects.",
    )
    group_by: str | None = Field(
        "provider",
        description="Column of the training table whose values are the groups. null: `conditions` or `memberships` say "
        "what they are.",
    )
    conditions: dict[str, str] | None = Field(
        None, description="Each group's name with a condition over the table's columns, instead of `group_by`."
    )
    memberships: Location | None = Field(
        None,
        min_length=1,
        description="Table (CSV, JSON or Parquet) with columns `id` and `group`, a row for each group that an image "
        "is in, instead of `group_by`.",
    )
    groups: list[str] | None = Field(
        None,
        description="The groups to attribute to, of those that the keys above give; images of others train the model. "
        "null: all.",
    )
    groups_from: Location | None = Field(
        None,
        min_length=1,
        description="A table that names them in its column `group`, such as screen.csv, instead of `groups`.",
    )
    noisy_partition: NoisyPartition | None = Field(
        None, description="Moves some of each group's images to other groups, keeping all sizes. null: none."
    )
    size: tuple[PositiveInt, PositiveInt] | None = Field(
        None,
        description="[height, width] that training images and queries from files are brought to: scaled until they "
        "just cover it, then cropped to the centre. null: as they are.",
    )
    channels: Literal[1, 3] | None = Field(
        None, description="Training images and queries from files become grey (1) or RGB (3). null: as they are."
    )
    subset: Subset | None = Field(
        None, description="Use so many of the images only, chosen by a hash of their ids. null: all."
    )

    held_out: Subset | None = Field(
        None,
        description="Images kept out of training; they are the queries, if queries.source is no other. null: none.",
    )
    kept_aside: NonNegativeInt = Field(
        0, description="So many images are seen by no model: the base model's loss on them is followed while it learns."
    )

    @model_validator(mode="after")
    def _files_fit(self) -> Data:
        if self.dataset == "huggingface" and (self.folder is None) == (self.hub is None):
            raise ValueError("dataset huggingface needs `folder` or `hub`, and not both")
        if self.dataset != "huggingface" and (self.hub is not None or self.split != "train"):
            raise ValueError(f"`hub` and `split` belong to dataset huggingface, not to {self.dataset}")
        if self.dataset not in (*INCLUDED, "huggingface") and self.folder is None:
            raise ValueError(f"dataset {self.dataset} needs `folder`, the folder of its files")
        if self.dataset in INCLUDED and (self.folder or self.table):
            raise ValueError(f"`folder` and `table` belong to datasets in files, not to {self.dataset}")
        if self.dataset not in ("image_folder", "coco") and self.table:
            raise ValueError(f"`table` belongs to dataset image_folder, not to {self.dataset}")
        if self.dataset == "coco" and self.table is None:
            raise ValueError("dataset coco needs `table`, its JSON file of annotations")
        return self

    @property
    def grouped_by(self) -> str | None:
        """The column whose values are the groups, where they are not given in another way."""
        return self.group_by if self.conditions is None and self.memberships is None else None

    @property
    def root(self) -> str:
        """`folder`, of a dataset in files."""
        if self.folder is None:
            raise ValueError(f"dataset {self.dataset} is in no folder")
        return self.folder

    @model_validator(mode="after")
    def _groups_fit(self) -> Data:
        if self.groups is not None and self.groups_from is not None:
            raise ValueError("`groups` and `groups_from` both say which groups to attribute to; give one of them")
        if self.group_by is None and self.memberships is None and self.conditions is None:
            raise ValueError(
                "`group_by` is null, and neither `conditions` nor `memberships` says what the groups are; give one of "
                "them, or a column"
            )
        if self.memberships is not None and self.conditions is not None:
            raise ValueError("`memberships` and `conditions` both say what the groups are; give one of them")
        return self

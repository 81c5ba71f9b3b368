"""Section `data`: the training images and their groups."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from guda.config.section import Fraction, Location, Section, Seed

INCLUDED = ("digits", "styled_digits")  # datasets that come with scikit-learn


class Subset(Section):
    count: PositiveInt = Field(description="Number of images; all, if there are fewer.")
    seed: Seed = Field(0, description="Random seed of the choice, combined with each image's id.")


class NoisyPartition(Section):
    fraction: Fraction = Field(0.05, description="Fraction of each group's images that move to another group.")
    block_size: PositiveInt = Field(25, description="Number of images that move together.")
    seed: Seed = Field(0, description="Random seed of which images move, and where to.")


class Data(Section):
    dataset: Literal[
        "digits", "styled_digits", "idx", "cifar10", "cifar100", "image_folder", "huggingface", "coco", "unlearncanvas"
    ] = Field(
        "digits",
        description="The training set. `digits` ships with scikit-learn; the others are read from `folder`, and "
        "nothing is downloaded except what `hub` names.\n"
        "- idx: the MNIST family (Fashion-MNIST, KMNIST): train-images-idx3-ubyte and "
        "train-labels-idx1-ubyte, with or without .gz, in `folder` or in a sub-folder such as "
        "torchvision's MNIST/raw. Column `label`. Gzipped files are decompressed in memory; decompress "
        "large ones yourself.\n"
        "- cifar10: data_batch_1 .. 5 and batches.meta of the Python or binary release. Column `label`, "
        "the class name.\n"
        "- cifar100: train and meta, or train.bin and *_label_names.txt. Columns `label` and "
        "`coarse_label`. For both CIFARs the parent folder works as well.\n"
        "- image_folder: your own images, in any layout. Column `label` is the sub-folder of an image, "
        "such as train/cat; with nested folders, `folder_1`, `folder_2`, ... are its levels. A "
        "metadata.jsonl, .csv or .parquet in any folder, as in the `datasets` library, adds columns.\n"
        "- huggingface: a folder written by save_to_disk of the `datasets` library, or a folder of "
        "Parquet files as in hub repositories. One column must be an Image; columns of text, numbers, "
        "dates and class labels can define groups, nested ones are dropped.\n"
        "- styled_digits: for text-to-image: the same digits drawn in twelve styles, 32x32 RGB. Columns "
        "`label` and `style`.\n"
        "- unlearncanvas: for text-to-image: STYLE/OBJECT/NUMBER.jpg. Columns `style` and `object`.\n"
        "- coco: for text-to-image: a folder of images with an MS-COCO annotations file as `table`. "
        "Column `license`; object annotations add `category` and `supercategory` of whatever covers most "
        "of the image (by `area`, else by bounding box, else by number of objects).",
    )
    folder: Location | None = Field(
        None,
        min_length=1,
        description="Folder of the images or of the unpacked release; required for every dataset but the digits.",
    )
    hub: str | None = Field(
        None,
        description="huggingface: a dataset of the Hub instead of a folder, as OWNER/NAME@COMMIT. Its Parquet files "
        "are downloaded once.",
    )
    split: str = Field("train", min_length=1, description="huggingface: the split to use.")
    table: Location | None = Field(
        None,
        min_length=1,
        description="image_folder: a table with one row per image instead of sub-folders: the column `file` or "
        "`file_name` (path within the folder), and any columns to group by. Images without a row are not "
        "used. Tables, here and elsewhere, are CSV (comma, semicolon or tab; .csv, .tsv, .txt), JSON (a "
        "list of objects, or one per line; .json, .jsonl) or Parquet. coco: the JSON file of annotations.",
    )
    group_by: str | None = Field(
        "provider",
        description="Column of the training table whose values are the groups; for the digits `provider`, or `label` "
        "for the ten classes. null: `conditions` or `memberships` define them (write null to override a "
        "preset that names a column).",
    )
    conditions: dict[str, str] | None = Field(
        None,
        description="Groups defined by conditions on the columns instead of `group_by`. They may overlap, be nested, "
        "and leave images out:\n"
        "- early_x: 'artist == \"X\" and year < 1950'\n"
        '- landscapes: \'subject in ["sea", "mountains"] and not artist == "X"\'\n'
        "Numbers compare as numbers, quoted text as text. An empty cell satisfies no comparison. Put "
        "column names with spaces or symbols in backticks: '`birth year` < 1900'.",
    )
    memberships: Location | None = Field(
        None,
        min_length=1,
        description="Groups read from a table instead of `group_by`: columns `id` (as in data/table.csv of the "
        "results; for image files, their paths) and `group`, one row for each group an image belongs to. "
        "They may overlap.",
    )
    groups: list[str] | None = Field(
        None,
        description="The groups to attribute to, as in [amber, birch]. All other images still train the model but "
        "belong to no group. The cost grows with the number of groups, so list the ones you ask about. "
        "null: all.",
    )
    groups_from: Location | None = Field(
        None,
        min_length=1,
        description="A table that lists them in its column `group`, such as screen.csv of the results, instead of "
        "`groups`.",
    )
    noisy_partition: NoisyPartition | None = Field(
        None,
        description="A robustness check: moves `fraction` of each group's images to other groups, in blocks of "
        "`block_size`, keeping group sizes, as in {fraction: 0.05, block_size: 25, seed: 0}. null: groups"
        " are used unchanged.",
    )
    size: tuple[PositiveInt, PositiveInt] | None = Field(
        None,
        description="[height, width] to resize images to, as in [32, 32]: scaled (antialiased Lanczos filter) until "
        "they just cover it, then center-cropped. Applies to training images and to queries read from a "
        "folder. null: no resizing; all images must have one size.",
    )
    channels: Literal[1, 3] | None = Field(
        None,
        description="1 (grayscale) or 3 (RGB). Transparent pixels are composited on white, other color spaces (CMYK, "
        "LAB) become RGB, 16-bit gray is divided by 257. null: no conversion; all images must be 8-bit "
        "gray or all 8-bit RGB, without transparency.",
    )
    subset: Subset | None = Field(
        None,
        description="A random subset of the images, as in {count: 5000, seed: 0}. Images are chosen by a hash of "
        "`seed` and their ids, so that adding an image replaces at most one. null: all.",
    )

    held_out: Subset | None = Field(
        None,
        description="Held-out images, as in {count: 256, seed: 0}: excluded from training and used as the queries, "
        "unless queries.source says otherwise. They keep every column of the training table. null: none.",
    )
    kept_aside: NonNegativeInt = Field(
        0,
        description="Number of validation images, chosen by a hash of their ids, that no model is trained on. The "
        "base model's loss on them is tracked during training (curves.csv, figures/curves.png): when it "
        "rises while the training loss falls, the model memorizes. Held-out queries serve the same "
        "purpose. 128 are enough. Not supported for text-to-image models.",
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

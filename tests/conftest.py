"""Finished runs of tiny experiments that files of tests share, and the choice of tests."""

import shutil
from pathlib import Path

import pytest
import yaml
from harness import RIVALS, ROOT, Workflow, finished, merged, save_image, shared

from guda.config.file import read_yaml
from tenths import pytest_addoption, pytest_collection_modifyitems, pytest_report_header  # noqa: F401

TINY = ROOT / "tests" / "workflow" / "tiny.yaml"
# Groups that are all the training images, as mixtures need.
DIVIDED = {"conditions": {"amber": 'provider == "amber"', "cedar": 'provider != "amber"'}}
SMALL = {"oracle": {"seeds": [1]}, "methods": ["guda_uncalibrated"], "queries": {"buckets": 1}}


@pytest.fixture(scope="session")
def workflow(tmp_path_factory) -> Workflow:
    """A finished run on two providers of the digits, with generated queries."""

    def make(directory: Path) -> None:
        directory.mkdir()
        shutil.copy(TINY, directory)
        finished(directory)

    return shared(tmp_path_factory.getbasetemp() / "workflow", make)


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Workflow:
    """The same with fewer jobs: one oracle, one other method, one bucket of queries."""

    def make(directory: Path) -> None:
        directory.mkdir()
        (directory / "tiny.yaml").write_text(yaml.safe_dump(merged(read_yaml(TINY), SMALL)), encoding="utf-8")
        finished(directory)

    return shared(tmp_path_factory.getbasetemp() / "small", make)


@pytest.fixture(scope="session")
def rivals(workflow, tmp_path_factory) -> Workflow:
    """The first run with other methods and a larger second group: only what these need beside it was made."""

    def make(directory: Path) -> None:
        settings = workflow.copied(directory).directory / "tiny.yaml"
        changed = merged(read_yaml(settings), {"data": DIVIDED, "methods": RIVALS})
        settings.write_text(yaml.safe_dump(changed), encoding="utf-8")
        finished(directory)

    return shared(tmp_path_factory.getbasetemp() / "rivals", make)


@pytest.fixture(scope="session")
def own_data(tmp_path_factory) -> Workflow:
    """A finished run on a user's files: images and a table, three groups and images of none, queries from a folder."""

    def make(directory: Path) -> None:
        directory.mkdir()
        shutil.copy(TINY.with_name("own-data.yaml"), directory / "tiny.yaml")
        rows = ["file,artist"]
        for index, artist in enumerate(["ann", "bob", "cid", ""] * 6):
            save_image(directory / "images" / f"{index:02d}.png", index)
            rows.append(f"{index:02d}.png,{artist}")
        (directory / "table.csv").write_text("\n".join(rows) + "\n")
        for index, name in enumerate(["0", "1", "2", "3", "4", "5<logs>{b}"]):
            save_image(directory / "queries" / f"{name}.png", 100 + index)
        finished(directory)

    return shared(tmp_path_factory.getbasetemp() / "own-data", make)

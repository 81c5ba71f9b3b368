"""Finished runs of tiny experiments, for all tests of this folder."""

import shutil

import pytest
from harness import RIVALS, ROOT, Workflow, finished, save_image


@pytest.fixture(scope="session")
def workflow(tmp_path_factory) -> Workflow:
    """A finished run on two providers of the digits, with generated queries."""
    directory = tmp_path_factory.mktemp("workflow")
    shutil.copy(ROOT / "tests" / "workflow" / "tiny.yaml", directory)
    return finished(directory)


@pytest.fixture(scope="session")
def rivals(workflow, tmp_path_factory) -> Workflow:
    """The first run with other methods: only what these need beside it was made."""
    run = workflow.copied(tmp_path_factory.mktemp("rivals") / "run")
    settings = run.directory / "tiny.yaml"
    settings.write_text(f"{settings.read_text(encoding='utf-8')}methods: [{', '.join(RIVALS)}]\n", encoding="utf-8")
    return finished(run.directory)


@pytest.fixture(scope="session")
def own_data(tmp_path_factory) -> Workflow:
    """A finished run on a user's files: images and a table, three groups and images of none, queries from a folder."""
    directory = tmp_path_factory.mktemp("own-data")
    shutil.copy(ROOT / "tests" / "workflow" / "own-data.yaml", directory / "tiny.yaml")
    rows = ["file,artist"]
    for index, artist in enumerate(["ann", "bob", "cid", ""] * 6):
        save_image(directory / "images" / f"{index:02d}.png", index)
        rows.append(f"{index:02d}.png,{artist}")
    (directory / "table.csv").write_text("\n".join(rows) + "\n")
    for index, name in enumerate(["0", "1", "2", "3", "4", "5<logs>{b}"]):
        save_image(directory / "queries" / f"{name}.png", 100 + index)
    return finished(directory)

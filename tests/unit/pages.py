"""A made-up page, and a headless Chromium to look at it with."""

import contextlib
import shutil

import numpy as np
import pytest

from guda.report.page import page_html
from guda.report.pictures import data_uri
from guda.report.verdicts import verdict

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


def made_up(n: int, groups: list[str], ids: list[str] | None = None, size: int = 8) -> dict:
    """Content of a page of n images: scores of `guda` and of `nearest`, all drawn at random."""
    random = np.random.default_rng(0)
    methods, ids = ["guda", "nearest"], ids or [f"query-{index:06d}" for index in range(n)]
    scores = {name: random.normal(size=(n, len(groups))).round(4) for name in methods}
    sure = random.random(n).round(3)
    pictures = [data_uri(image) for image in random.integers(0, 256, (n, 1, size, size), dtype=np.uint8)]
    return {
        "title": "A page",
        "summary": f"{n} images",
        "notes": [],
        "groups": groups,
        "n_images": [10] * len(groups),
        "methods": methods,
        "units": {"guda": "nats", "nearest": ""},
        "queries": ids,
        "pictures": pictures,
        "known": {"year": [str(1900 + index % 100) for index in range(n)]},
        "scores": {name: values.ravel().tolist() for name, values in scores.items()},
        "se": {"guda": [0.5] * (n * len(groups))},
        "sure": {"guda": sure.tolist()},
        "largest": {name: float(np.abs(values).max()) for name, values in scores.items()},
        "verdicts": [verdict(groups, row, p, "nats") for row, p in zip(scores["guda"], sure.tolist(), strict=True)],
        "nearest": [[(0, [0])]] + [None] * (n - 1),
        "training": {"ids": ["t"], "pictures": pictures[:1]},
        "maps": {0: {0: {"overlay": pictures[0], "said": "3 % of pixels significant"}}},
        "schedule": {"steps": [110, 990], "nats": [2.5, -0.5]},
        "metrics": None,
        "redrawn": {0: {0: pictures[0]}},
        "none": {"guda": sure[::-1].tolist()},
        "quality": {"columns": ["model", "remark"], "rows": [["base", ""]]},
        "curve": {"steps": [1, 2], "loss": [0.5, 0.25]},
        "costs": ["seconds"],
        "origin": [{"name": "guda", "costs": [1.5]}],
        "specs": [["the score file of guda", "{}"]],
        "versions": {"numpy": "2"},
    }


@contextlib.contextmanager
def opened(folder, content: dict):
    """A browser that shows the page of `content`, and has found nothing to complain of when it is closed."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("no Chromium and chromedriver here")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    (folder / "report.html").write_text(page_html(content), encoding="utf-8")
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        browser.set_window_size(1280, 1000)
        browser.get((folder / "report.html").as_uri())
        yield browser
        assert browser.get_log("browser") == []
    finally:
        browser.quit()

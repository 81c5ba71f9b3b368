"""The page of all answers: what it says, and what it does in a browser."""

import json
import re

import numpy as np
import pytest
from pages import made_up, opened

from guda.report.page import page_html
from guda.report.verdicts import verdict

GROUPS = ["amber", "birch", "cedar"]
ATTACKS = [
    "<script>document.title = 'attacked'</script>",
    "</script><img src=x onerror=\"document.title = 'attacked'\">",
    "<!-- <script>",
    "\"quoted\" & 'so'",
    "=1+1",
    "x" * 200,
    "שלום עולם",
    "水墨画",
    "\u2028line",
]


def shown(browser, selector):
    return [element.text for element in browser.find_elements("css selector", selector)]


@pytest.mark.parametrize(
    ("scores", "p", "unit", "said"),
    [
        ([3.0, 1, 2], 0.95, "nats", r"^amber\. Without it, .* 3 nats worse\. In another run .* probability 0\.95\.$"),
        ([3.0, 1, 2], 0.7, "nats", r"^Probably amber\. Without it"),
        ([3.0, 1, 2], 0.3, "nats", r"^Uncertain: amber\."),
        ([1.0, 12.345, 2], None, "nats", r"^birch ranks first\. Without it, .* 12\.3 nats worse\.$"),
        (
            [-3.0, -1, -2],
            0.95,
            "nats",
            r"^birch\. Its score is -1 nats: without it, the model would explain this image no worse",
        ),
        ([0.1, 0.5, 0.2], None, "", r"^birch ranks first\. Its score is 0\.5\.$"),
        ([2.0, 2, 2], 0.3, "nats", r"^amber, birch and cedar tie for first place\.$"),
    ],
)
def test_a_verdict_says_who_is_first_how_surely_and_by_how_much(scores, p, unit, said):
    assert re.search(said, verdict(GROUPS, np.array(scores), p, unit))


def test_a_verdict_says_where_no_group_stands_out():
    said = verdict(GROUPS, np.array([3.0, 1, 2]), 0.95, "nats", p_none=0.34)
    assert said.startswith("No group stands out: 34 % of training images score as high for a group that does not")
    assert verdict(GROUPS, np.array([3.0, 1, 2]), 0.95, "nats", p_none=0.01).startswith("amber. Without it")


def test_the_data_stand_in_the_page_whatever_names_they_hold():
    content = made_up(len(ATTACKS), ATTACKS, ids=ATTACKS)
    page = page_html(content)
    assert page.count("<script") == page.count("</script>") == 2
    (text,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page, flags=re.DOTALL)
    assert json.loads(text) == json.loads(json.dumps(content))
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))


def test_names_that_attack_are_shown_as_text(tmp_path):
    with opened(tmp_path, made_up(len(ATTACKS), ATTACKS, ids=ATTACKS)) as browser:
        assert browser.title == "A page"
        names = browser.execute_script(
            "return [...document.querySelectorAll('#cards .quiet.name')].map((e) => e.title)"
        )
        assert sorted(names) == sorted(ATTACKS)
        browser.find_element("css selector", "#cards button").click()
        assert browser.execute_script("return document.getElementById('detail').open")
        assert browser.title == "A page"


def test_filters_and_order_choose_what_is_shown(tmp_path):
    content = made_up(200, GROUPS)
    scores = np.array(content["scores"]["guda"]).reshape(200, 3)
    first, sure = scores.argmax(axis=1), np.array(content["sure"]["guda"])
    with opened(tmp_path, content) as browser:

        def choose(field, value):
            browser.execute_script(
                "const e = document.getElementById(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event("
                "e.type === 'search' ? 'input' : 'change'))",
                field,
                value,
            )
            return int(browser.find_element("id", "count").text.split()[0])

        assert choose("first", "1") == (first == 1).sum()
        assert choose("sure", "sure") == ((first == 1) & (sure >= 0.9)).sum()
        assert choose("first", "") == (sure >= 0.9).sum()
        assert choose("sure", "none") == (np.array(content["none"]["guda"]) >= 0.05).sum()
        assert choose("sure", "") == 200
        assert choose("search", "1942") == 2
        assert choose("search", "query-000007") == 1
        assert choose("search", "") == 200
        choose("order", "size")
        names = shown(browser, "#cards .quiet.name")
        expected = np.argsort(-scores.max(axis=1), kind="stable")[: len(names)]
        assert names == [f"query-{index:06d}" for index in expected]
        assert len(names) == 60
        browser.find_element("id", "more").click()
        assert len(browser.find_elements("css selector", "#cards li")) == 120


@pytest.mark.parametrize("n_groups", [1, 60])
def test_an_image_is_opened_and_left_by_keys_alone(tmp_path, n_groups):
    from selenium.webdriver.common.keys import Keys

    with opened(tmp_path, made_up(3, [f"group {index}" for index in range(n_groups)])) as browser:
        card = browser.find_element("css selector", "#cards button")
        card.send_keys(Keys.ENTER)
        assert shown(browser, "#detail-title") == ["query-000000"]
        assert len(browser.find_elements("css selector", "#detail-body .beside tbody tr")) == n_groups
        browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
        assert shown(browser, "#detail-title") == ["query-000001"]
        browser.switch_to.active_element.send_keys(Keys.ESCAPE)
        assert not browser.execute_script("return document.getElementById('detail').open")


def test_groups_that_tie_are_not_told_as_one(tmp_path):
    content = made_up(1, GROUPS)
    content["scores"]["guda"] = [1.0, 2.0, 2.0]
    with opened(tmp_path, content) as browser:
        assert shown(browser, "#cards strong") == ["birch and 1 more, tied"]

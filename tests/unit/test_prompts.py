"""Prompts of images, anchors and queries: by hand, and depending on what they should alone."""

import json
from itertools import permutations

import pandas as pd
import pytest
from PIL import Image
from pydantic import ValidationError

from guda.config import Data
from guda.config.prompts import Prompts
from guda.config.text_to_image import QueryPrompts
from guda.core.errors import ConfigError, DataError
from guda.data.datasets import load_dataset
from guda.data.datasets.styled_digits import DESCRIPTORS
from guda.data.prompt_files import read_captions, read_query_prompts
from guda.data.prompts import drawn, prompt_book
from guda.data.query_prompts import mixture, query_prompts
from guda.plan.config import load_config
from guda.plan.experiment import Experiment

PHRASES = {"cubism": ["sharp planes", "many views"], "pop": ["flat colors", "bold dots", "many views"]}
ROWS = [("a", "cubism", "cat"), ("b", "pop", "cat"), ("c", "pop", "dog"), ("d", None, "dog")]


@pytest.fixture
def table():
    return pd.DataFrame(ROWS, columns=["id", "style", "object"])


@pytest.fixture
def descriptors(tmp_path):
    (tmp_path / "phrases.json").write_text(json.dumps(PHRASES), encoding="utf-8")
    return str(tmp_path / "phrases.json")


@pytest.fixture
def book(table, descriptors):
    return prompt_book(Prompts(descriptors=descriptors, per_prompt=2), table)


def write_lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_prompts_of_images_are_the_template_with_descriptors_of_their_style(book):
    one, two, three, four = book.of_images()
    # Cubism has two phrases, both of which are in each prompt, in either order.
    assert len(one) == len(two) == len(three) == 2
    assert set(one) <= {
        "An artwork of cat, with sharp planes, many views",
        "An artwork of cat, with many views, sharp planes",
    }
    for prompt in two:
        content, phrases = prompt.split(", with ")
        assert content == "An artwork of cat"
        assert len({*phrases.split(", ")} & {*PHRASES["pop"]}) == 2
    assert all(prompt.startswith("An artwork of dog, with ") for prompt in three)
    assert four == ["An artwork of dog"]


def test_an_added_image_changes_no_other_images_prompts(book, table, descriptors):
    more = pd.concat([pd.DataFrame([("0", "pop", "cat")], columns=table.columns), table], ignore_index=True)
    again = prompt_book(Prompts(descriptors=descriptors, per_prompt=2), more)
    assert again.of_images()[1:] == book.of_images()
    assert again.anchors().equals(book.anchors())


def test_the_seed_changes_the_prompts(table, descriptors):
    books = [prompt_book(Prompts(descriptors=descriptors, prompts_per_image=8, seed=seed), table) for seed in (0, 0, 1)]
    same, again, other = (book.of_images() for book in books)
    assert same == again
    assert same != other


def test_drawn_phrases_are_different_and_all_orders_occur():
    assert drawn(["a"], 3, "x") == ["a"]
    assert drawn([], 3, "x") == []
    found = [tuple(drawn("abc", 2, number)) for number in range(600)]
    # 6 ordered pairs, 100 times each: the deviation is sqrt(600 * 1/6 * 5/6) = 9.
    counts = [found.count(pair) for pair in permutations("abc", 2)]
    assert sum(counts) == 600
    assert all(abs(count - 100) < 40 for count in counts)


def test_anchors_are_every_content_in_every_style_then_the_contents_alone(book):
    anchors = book.anchors()
    assert list(anchors.columns) == ["content", "style", "prompt"]
    assert len(anchors) == 2 * 2 * 4 + 2
    assert list(anchors["content"][:-2]) == 8 * ["cat"] + 8 * ["dog"]
    assert list(anchors["style"]) == 2 * (4 * ["cubism"] + 4 * ["pop"]) + [None, None]
    assert list(anchors["prompt"][-2:]) == ["An artwork of cat", "An artwork of dog"]
    of_dog_in_pop = anchors[(anchors["content"] == "dog") & (anchors["style"] == "pop")]["prompt"]
    assert all(prompt.startswith("An artwork of dog, with ") for prompt in of_dog_in_pop)
    assert not any("sharp planes" in prompt for prompt in of_dog_in_pop)


def test_the_digits_in_styles_bring_their_descriptors():
    table = load_dataset(Data(dataset="styled_digits", group_by="style")).table
    settings = Prompts(
        template="The digit {label}, {descriptors}", content_template="The digit {label}", content="label"
    )
    book = prompt_book(settings, table, "styled_digits")
    assert book.descriptors == {style: list(phrases) for style, phrases in DESCRIPTORS.items()}
    assert len(book.anchors()) == 10 * 12 * 4 + 10
    prompts = book.of_images()
    assert {len(texts) for texts in prompts} == {2}
    for texts, style, label in zip(prompts, table["style"], table["label"], strict=True):
        for text in texts:
            first, *phrases = text.split(", ")
            assert first == f"The digit {label}"
            assert len({*phrases} & {*DESCRIPTORS[style]}) == len(phrases) == 3


def test_without_descriptors_a_style_is_described_by_its_name(table):
    book = prompt_book(Prompts(), table)
    assert book.descriptors == {"cubism": ["cubism"], "pop": ["pop"]}
    assert book.of_images()[0] == 2 * ["An artwork of cat, with cubism"]


def test_a_template_may_name_the_style_or_no_style_at_all(table):
    named = prompt_book(Prompts(template="A {style} {object}"), table).of_images()
    assert named == [2 * ["A cubism cat"], 2 * ["A pop cat"], 2 * ["A pop dog"], ["An artwork of dog"]]
    assert prompt_book(Prompts(template="A {object}"), table).of_images() == [
        ["A cat"],
        ["A cat"],
        ["A dog"],
        ["A dog"],
    ]


def test_a_value_with_braces_is_no_placeholder(table):
    table["object"] = "{style}"
    assert prompt_book(Prompts(template="A {object}"), table).of_images()[0] == ["A {style}"]


def test_a_table_of_prompts_is_matched_by_the_columns_that_both_have(table, tmp_path):
    path = write_lines(
        tmp_path / "prompts.jsonl",
        {"style": "cubism", "object": "cat", "prompt": "cat 1", "descriptors": ["sharp planes"]},
        {"style": "cubism", "object": "cat", "prompt": "cat 2", "descriptors": ["many views", "sharp planes"]},
        {"style": "pop", "object": "cat", "prompt": "cat 3", "descriptors": ["flat colors"]},
        {"style": "pop", "object": "dog", "prompt": "dog 1", "descriptors": ["bold dots"]},
        {"style": None, "object": "dog", "prompt": "dog 2", "descriptors": ["none"]},
    )
    book = prompt_book(Prompts(table=path), table)
    assert book.of_images() == [["cat 1", "cat 2"], ["cat 3"], ["dog 1"], ["dog 2"]]
    assert book.descriptors == {"cubism": ["sharp planes", "many views"], "pop": ["flat colors", "bold dots"]}
    single = prompt_book(Prompts(table=path, prompts_per_image=1), table).of_images()
    assert single[0] in (["cat 1"], ["cat 2"])


def test_a_table_of_prompts_that_lacks_an_image_names_it(table, tmp_path):
    path = write_lines(tmp_path / "prompts.jsonl", {"style": "cubism", "object": "cat", "prompt": "cat"})
    with pytest.raises(
        DataError, match=r"prompts\.jsonl' has no prompt for image 'b' \(style 'pop', object 'cat'\); add"
    ):
        prompt_book(Prompts(table=path), table)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"prompt": "a", "size": 1}\n', "shares no column with the training table; it has prompt, size"),
        ('{"style": "pop", "prompt": ""}\n', "row 1 has no prompt; write one"),
        ('{"style": "pop", "prompt": "a\\nb"}\n', "row 1: the prompt 'a\\\\nb' has a line break"),
        ('{"style": "pop"}\n', "row 1 has no prompt"),
        ('{"style": "pop", "prompt": "a"}\n{"prompt": "b"}\n', "line 2 has the keys prompt, but the first line style"),
        ('{"style": "pop", "prompt": "a", "descriptors": "x"}\n', "row 1: descriptors: expected a list of phrases"),
        ('{"style": ["pop"], "prompt": "a"}\n', "row 1: style is .*, expected a text"),
        ("[1]\n", "row 1: expected an object"),
        ("{\n", "line 1 is not readable JSON"),
        ("\n", "has no rows"),
    ],
)
def test_a_damaged_table_of_prompts_is_refused(table, tmp_path, lines, message):
    (tmp_path / "p.jsonl").write_text(lines, encoding="utf-8")
    with pytest.raises(DataError, match=rf"text_to_image\.prompts\.table: '.*p\.jsonl'.*{message}"):
        prompt_book(Prompts(table=str(tmp_path / "p.jsonl")), table)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.csv", "file_name;prompt\n./a;one\na;two\nb;three\nc;four\nd;five\n"),
        ("p.tsv", "id\tprompt\na\tone\na\ttwo\nb\tthree\nc\tfour\nd\tfive\n"),
        ("p.json", json.dumps([{"file": name, "prompt": text} for name, text in
                               [("a", "one"), (".\\a", "two"), ("b", "three"), ("c", "four"), ("d", "five")]])),
    ],
)  # fmt: skip
def test_a_table_of_prompts_may_be_of_any_format_and_name_files(table, tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    book = prompt_book(Prompts(table=str(tmp_path / name)), table)
    assert book.of_images() == [["one", "two"], ["three"], ["four"], ["five"]]


def test_files_of_prompts_that_belong_to_images_by_other_columns_are_no_ids(table, tmp_path):
    rows = [
        {"style": style, "object": thing, "file": "x.png", "prompt": f"{thing}, {style}"} for _, style, thing in ROWS
    ]
    book = prompt_book(Prompts(table=write_lines(tmp_path / "p.jsonl", *rows)), table)
    assert book.of_images()[1] == ["cat, pop"]


def test_descriptors_may_be_lists_in_parquet(table, tmp_path):
    frame = pd.DataFrame({"style": ["cubism", "pop"], "descriptors": [["x"], ["y", "z"]]})
    frame.to_parquet(tmp_path / "d.parquet", index=False)
    book = prompt_book(Prompts(descriptors=str(tmp_path / "d.parquet")), table)
    assert book.descriptors == {"cubism": ["x"], "pop": ["y", "z"]}


def test_captions_know_files_however_they_are_written(tmp_path):
    images = [{"id": "1", "file_name": r".\a\1.jpg"}, {"id": "2", "file_name": "b.jpg"}]
    notes = [{"image_id": 1, "caption": "one"}, {"image_id": 2, "caption": None}, {"image_id": 2, "caption": "two"}]
    (tmp_path / "c.json").write_text(json.dumps({"images": images, "annotations": notes}), encoding="utf-8-sig")
    table = pd.DataFrame({"id": ["a/1.jpg", "b.jpg"]})
    assert prompt_book(Prompts(captions=str(tmp_path / "c.json")), table).of_images() == [["one"], ["two"]]


def test_a_missing_file_is_named(table):
    with pytest.raises(DataError, match=r"text_to_image\.prompts\.table: 'absent\.jsonl' cannot be read"):
        prompt_book(Prompts(table="absent.jsonl"), table)


def test_descriptors_come_from_lines_too(table, tmp_path):
    rows = [{"style": "cubism", "descriptors": ["x"]}, {"style": "pop", "descriptors": ["y"]}]
    rows += [{"style": "cubism", "descriptors": ["x", "z"]}]
    book = prompt_book(Prompts(descriptors=write_lines(tmp_path / "d.jsonl", *rows)), table)
    assert book.descriptors == {"cubism": ["x", "z"], "pop": ["y"]}


def test_a_style_without_descriptors_is_named(table, tmp_path):
    (tmp_path / "d.json").write_text('{"Cubism": ["x"], "pop": ["y"]}', encoding="utf-8")
    book = prompt_book(Prompts(descriptors=str(tmp_path / "d.json")), table)
    with pytest.raises(DataError, match=r"style 'cubism' .* has no descriptors; .*did you mean 'Cubism'\?"):
        book.of_images()


def test_columns_that_are_not_there_are_named(table):
    with pytest.raises(ConfigError, match=r"has unknown \{objekt\}; did you mean 'object'\?"):
        prompt_book(Prompts(template="A {objekt}"), table).of_images()
    with pytest.raises(ConfigError, match="no column 'styles' in the training table; did you mean 'style'"):
        prompt_book(Prompts(style="styles"), table).of_images()
    table.loc[0, "object"] = None
    with pytest.raises(DataError, match=r"needs \{object\}, but image 'a' has no value for it"):
        prompt_book(Prompts(), table).of_images()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"template": "A {object"}, "has a brace without its pair"),
        ({"template": "A {}"}, "has a brace without its pair, or without a name"),
        ({"content_template": "A {style} {object}"}, "holds {style}, but tells of the content alone"),
        ({"table": "a", "captions": "b"}, "give one of them"),
        ({"style": "object"}, "`style` and `content` are both 'object'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Prompts(**settings)


def test_captions_are_the_prompts_of_their_files(tmp_path):
    path = tmp_path / "captions.json"
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}]
    captions = [(9, "a dog"), (7, "a  cat\n"), (7, "one cat"), (7, "cats")]
    notes = [{"image_id": image, "caption": caption} for image, caption in captions]
    path.write_text(json.dumps({"images": images, "annotations": notes}), encoding="utf-8")
    assert read_captions(str(path), "k") == {"a.jpg": ["a cat", "one cat", "cats"], "b.jpg": ["a dog"]}
    table = pd.DataFrame({"id": ["b.jpg", "a.jpg"]})
    dog, cats = prompt_book(Prompts(captions=str(path)), table).of_images()
    assert dog == ["a dog"]
    assert len(cats) == 2
    with pytest.raises(DataError, match=r"captions\.json' has no caption for image 'c\.jpg'; add one, or remove"):
        prompt_book(Prompts(captions=str(path)), pd.DataFrame({"id": ["c.jpg"]}))


@pytest.mark.parametrize(
    "content", ['{"images": []}', "[]", '{"images": [{"id": 1}]}', '{"images": [], "annotations": [{"image_id": 3}]}']
)
def test_captions_of_another_format_are_refused(tmp_path, content):
    (tmp_path / "c.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"c\.json' is not a valid COCO captions file"):
        read_captions(str(tmp_path / "c.json"), "k")


def test_queries_take_styles_and_contents_in_turn(book):
    found = query_prompts(QueryPrompts(mixed=0), book, ["cubism", "pop"], 5, seed=3)
    assert list(found.columns) == ["query", "prompt", "style", "second_style", "content"]
    assert list(found["query"]) == [f"query-00000{number}" for number in range(5)]
    pairs = list(zip(found["style"], found["content"], strict=True))
    assert pairs == [("cubism", "cat"), ("pop", "dog"), ("cubism", "dog"), ("pop", "cat"), ("cubism", "cat")]
    assert found["second_style"].isna().all()
    for prompt, (style, content) in zip(found["prompt"], pairs, strict=True):
        first, phrases = prompt.split(", with ")
        assert first == f"An artwork of {content}"
        assert set(phrases.split(", ")) <= set(PHRASES[style])


def test_a_query_depends_on_its_number_and_the_seed_alone(book):
    few, many = (query_prompts(QueryPrompts(), book, ["cubism", "pop"], count, seed=3) for count in (7, 40))
    assert many.iloc[:7].equals(few)
    assert not many.equals(query_prompts(QueryPrompts(), book, ["cubism", "pop"], 40, seed=4))


def test_mixed_queries_hold_descriptors_of_two_targets():
    table = load_dataset(Data(dataset="styled_digits", group_by="style")).table
    settings = Prompts(
        template="The digit {label}, {descriptors}", content_template="The digit {label}", content="label"
    )
    book = prompt_book(settings, table, "styled_digits")
    targets = list(DESCRIPTORS)[:8]
    found = query_prompts(QueryPrompts(mixed=0.5), book, targets, 400, seed=0)
    mixed = found[found["second_style"].notna()]
    # Half of 400, with a deviation of 10.
    assert 160 <= len(mixed) <= 240
    sizes = set()
    for prompt, first, second in zip(mixed["prompt"], mixed["style"], mixed["second_style"], strict=True):
        phrases = set(prompt.split(", ")[1:])
        own = {*DESCRIPTORS[first]} & phrases
        assert first != second
        assert len(own) in (1, 2)
        assert len(phrases - own) == 1
        assert phrases - own <= {*DESCRIPTORS[second]}
        sizes.add(len(own))
    assert sizes == {1, 2}
    assert set(found["style"]) == set(mixed["second_style"]) == set(targets)
    pairs = found.iloc[:80]
    assert len(set(zip(pairs["style"], pairs["content"], strict=True))) == 80


def test_a_mixture_of_styles_that_share_all_has_each_phrase_once():
    for number in range(20):
        found = mixture(["a"], ["a"], number)
        assert found == ["a"]
        assert sorted(mixture(["a", "b"], ["b"], number)) in (["a"], ["b"], ["a", "b"])


def test_mixing_needs_two_styles_and_descriptors(book, table):
    with pytest.raises(ConfigError, match=r"text_to_image\.queries\.mixed is 0\.5, which needs two target styles"):
        query_prompts(QueryPrompts(), book, ["pop"], 2, seed=0)
    named = prompt_book(Prompts(template="A {style} {object}"), table)
    with pytest.raises(ConfigError, match=r"needs two target styles and \{descriptors\}"):
        query_prompts(QueryPrompts(), named, ["cubism", "pop"], 2, seed=0)


@pytest.mark.parametrize("name", ["q.jsonl", "q.csv"])
def test_query_prompts_of_the_users_own(tmp_path, name):
    text = {"q.jsonl": '{"style": "pop", "prompt": "a, b"}\n{"style": null, "prompt": "c"}\n'}
    text["q.csv"] = 'style,prompt\npop,"a, b"\n,c\n'
    (tmp_path / name).write_text(text[name], encoding="utf-8")
    found = read_query_prompts(str(tmp_path / name), "k")
    assert found.to_dict("list") == {
        "query": ["query-000000", "query-000001"],
        "prompt": ["a, b", "c"],
        "style": ["pop", None],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("style\npop\n", "has no column 'prompt'; found style"),
        ("prompt,file\na,b\n", "the column 'file' is reserved; rename it"),
        ("prompt,style\n,pop\n", "row 1 has no prompt"),
        ("prompt\n", "has no rows"),
    ],
)
def test_query_prompts_that_do_not_fit_are_refused(tmp_path, text, message):
    (tmp_path / "q.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"text_to_image\.queries\.file: '.*q\.csv'.*{message}"):
        read_query_prompts(str(tmp_path / "q.csv"), "text_to_image.queries.file")


# --- images without styles ----------------------------------------------------------------------------


def captioned(tmp_path, *methods, queries=None):
    """An experiment on captioned pictures of two collections, with the user's own query prompts, or queries."""
    names = [f"{number}.png" for number in range(4)]
    for number, name in enumerate(names):
        Image.new("RGB", (8, 8), (60 * number, 0, 0)).save(tmp_path / name)
    (tmp_path / "t.csv").write_text("file,collection\n0.png,a\n1.png,a\n2.png,b\n3.png,b\n", encoding="utf-8")
    images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    captions = [{"image_id": number, "caption": f"picture {number}"} for number in range(4)]
    (tmp_path / "c.json").write_text(json.dumps({"images": images, "annotations": captions}), encoding="utf-8")
    (tmp_path / "q.jsonl").write_text('{"prompt": "a dog"}\n{"prompt": "a cat"}\n', encoding="utf-8")
    data = {"dataset": "image_folder", "folder": str(tmp_path), "table": str(tmp_path / "t.csv")}
    file = None if queries else str(tmp_path / "q.jsonl")
    text = {"prompts": {"captions": str(tmp_path / "c.json")}, "queries": {"file": file}}
    settings = {"data": data | {"group_by": "collection"}, "text_to_image": text, "methods": list(methods)}
    return Experiment(load_config(settings | {"queries": queries or {}, "metrics": {"content": None}}))


def test_images_without_styles_have_captions_and_the_methods_that_need_no_style(tmp_path):
    of = captioned(tmp_path, "embedding", "nearest", "random")
    assert list(of.family.prompts("training")["prompt"]) == [f"picture {number}" for number in range(4)]
    assert list(of.known_of_queries["prompt"]) == ["a dog", "a cat"]
    assert of.model_spec("base").samples == of.family.encoded_spec("training").digest()


def test_unlearning_by_anchors_asks_for_a_column_of_styles(tmp_path):
    with pytest.raises(ConfigError, match=r"^text_to_image\.prompts\.style: no column 'style' in the training table"):
        captioned(tmp_path, "guda")


def test_images_of_the_users_own_come_with_their_prompts(tmp_path):
    (tmp_path / "own").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "own" / "q.png")
    queries = {"folder": str(tmp_path / "own"), "table": str(tmp_path / "own.csv")}
    (tmp_path / "own.csv").write_text("file,prompt\nq.png,a dog\n", encoding="utf-8")
    assert list(captioned(tmp_path, "embedding", queries=queries).known_of_queries["prompt"]) == ["a dog"]
    (tmp_path / "own.csv").write_text("file,words\nq.png,a dog\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^queries\.table: .* needs each query's prompt; give a column `prompt`$"):
        captioned(tmp_path, "embedding", queries=queries).prompts("bucket-0000")

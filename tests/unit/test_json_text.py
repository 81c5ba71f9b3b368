"""What is refused as JSON, by the parser and by everything that reads JSON of a user's or of a job's."""

import json
import math

import pytest

from guda.core.artifacts import made_for, read_json
from guda.core.errors import ArtifactError, DataError, GudaError
from guda.core.json_text import parse_json
from guda.data.datasets import json_files
from guda.data.prompt_files import read_captions, read_descriptors, read_prompt_table, read_query_prompts
from guda.jobs.cli import all_settings, data_settings, imported_model, spec_text
from guda.models.imported import read_object
from guda.specs import ImagesSpec, TrainSpec, parse_any

WRONG = {
    "brackets without end": ("[" * 100_000, "brackets are nested too deeply"),
    "objects without end": ('{"a":' * 100_000, "brackets are nested too deeply"),
    "400 digits": ('{"a": ' + "1" * 400 + "}", "the number 1111111111... has 400 digits"),
    "5000 digits": ('{"a": -' + "1" * 5000 + "}", "has 5001 digits"),
    "NaN": ('{"a": NaN}', "NaN is not a JSON number"),
    "-Infinity": ('{"a": -Infinity}', "-Infinity is not a JSON number"),
    "1e999": ('{"a": 1e999}', "the number 1e999 is too large"),
    "key twice": ('{"a": {"b": 1, "b": 1}}', "the key 'b' occurs twice in an object"),
    "half a character": (r'{"a": "\ud83d"}', "half of a character"),
    "half a character as key": (r'{"\uDE00": 1}', "half of a character"),
    "nothing": ("", "Expecting value"),
}
WRONG_TEXTS = pytest.mark.parametrize("text", [text for text, _ in WRONG.values()], ids=WRONG)


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_the_parser_refuses(text, message):
    with pytest.raises(ValueError, match=message.replace("...", r"\.\.\.")) as caught:
        parse_json(text)
    assert len(str(caught.value).splitlines()) == 1


def test_the_parser_reads_what_is_json():
    text = r'{"a": [1, -2.5, 1e3, true, null, "\ud83d\ude00", "\\ud83d"], "b": {"a": {}}, "c": 123456789012345678901}'
    assert parse_json("\ufeff" + text) == {
        "a": [1, -2.5, 1000.0, True, None, "😀", r"\ud83d"],
        "b": {"a": {}},
        "c": 123456789012345678901,
    }
    assert parse_json("5") == 5


def test_what_python_writes_of_infinity_is_read_where_it_is_expected():
    found = parse_json("[NaN, Infinity, -Infinity]", finite=False)
    assert math.isnan(found[0])
    assert found[1:] == [math.inf, -math.inf]


READERS = {
    "record": (lambda path: read_json(path), ArtifactError),
    "model": (lambda path: read_object(path, "k"), ArtifactError),
    "annotations": (lambda path: json_files.read_json(str(path), "k"), DataError),
    "captions": (lambda path: read_captions(str(path), "k"), DataError),
    "descriptors": (lambda path: read_descriptors(str(path), "style", "k"), DataError),
    "prompts": (lambda path: read_prompt_table(str(path), "k"), DataError),
    "queries": (lambda path: read_query_prompts(str(path), "k"), DataError),
}


@pytest.mark.parametrize(("reader", "error"), READERS.values(), ids=READERS)
@WRONG_TEXTS
def test_every_reader_refuses_and_names_the_file(tmp_path, text, reader, error):
    if reader is READERS["model"][0] and ("NaN" in text or "Infinity" in text):
        pytest.skip("schedulers of diffusers have infinite bounds")
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    with pytest.raises(error, match=r"x\.json"):
        reader(tmp_path / "x.json")


@WRONG_TEXTS
def test_a_damaged_file_tells_no_spec(tmp_path, text):
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    assert made_for(tmp_path / "x.json") is None


@WRONG_TEXTS
def test_specs_and_settings_on_a_command_line_are_refused(tmp_path, text):
    (tmp_path / "x").write_text(text, encoding="utf-8")
    assert spec_text(str(tmp_path / "x")) == text
    for read in (ImagesSpec.parse, lambda text: parse_any([ImagesSpec, TrainSpec], text)):
        with pytest.raises(GudaError, match="--spec is not a valid spec of stage images"):
            read(text)
    with pytest.raises(GudaError, match="--data: invalid section `data`"):
        data_settings(text)
    with pytest.raises(GudaError, match="--config: invalid configuration"):
        all_settings(text)
    with pytest.raises(GudaError, match="--imports: "):
        imported_model(text, "base")


def test_scalars_and_files_that_are_no_spec_are_refused(tmp_path):
    (tmp_path / "latin").write_bytes(b"\xe9")
    for text in ("5", '"x"', "null", "[1]"):
        with pytest.raises(GudaError, match="expected a JSON object, found"):
            ImagesSpec.parse(text)
    for path in (tmp_path / "absent", tmp_path / "latin"):
        with pytest.raises(GudaError, match=r"--spec: .* is neither a JSON object nor a readable file"):
            spec_text(str(path))
    assert imported_model(json.dumps({"base": ["a/b", "model.pretrained"]}), "base") == ("a/b", "model.pretrained")
    with pytest.raises(GudaError, match=r"--imports: no model 'bse'; did you mean 'base'\?"):
        imported_model(json.dumps({"base": ["a/b", "model.pretrained"]}), "bse")

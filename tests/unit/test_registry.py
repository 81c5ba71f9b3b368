"""What hangs on the registries of methods and operators: golden numbers, documentation, sections, bad values."""

import inspect
import re
from pathlib import Path

import pytest
from test_golden import GOLDEN

from guda.core.errors import ConfigError, GudaError
from guda.methods import METHODS, method_of
from guda.methods.instance import InstanceLevel
from guda.methods.settings import Attribution
from guda.plan.config import Config, load_config
from guda.unlearning import OPERATORS

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = Config.model_json_schema()
SECTIONS = [*(f"attribution.{name}" for name in Attribution.model_fields), "unlearn", "text_to_image.anchors"]


def resolved(schema):
    return SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema


def section_schema(key, schema=SCHEMA):
    """The schema of a section by its dotted key."""
    for name in key.split("."):
        found = schema["properties"][name]
        schema = resolved(next((each for each in found.get("anyOf", [found]) if "$ref" in each), found))
    return schema


def settings_of(key, schema):
    """Dotted keys of all settings of a section and of those in it, each with the schemas of what it may be."""
    for name, found in schema["properties"].items():
        inner = resolved(found)
        if "properties" in inner:
            yield from settings_of(f"{key}.{name}", inner)
        else:
            yield f"{key}.{name}", found.get("anyOf", [found])


def refused_values(kinds):
    """Values that the constraints of a setting rule out: at or just beyond a bound, of no choice, of another type."""
    for kind in kinds:
        if "exclusiveMinimum" in kind:
            yield kind["exclusiveMinimum"]
        if "minimum" in kind:
            yield kind["minimum"] - 1
        if "exclusiveMaximum" in kind:
            yield kind["exclusiveMaximum"]
        if "maximum" in kind:
            yield kind["maximum"] + 1
        if kind.get("minItems"):
            yield []
        if "enum" in kind:
            yield "none of these"
    types = {kind.get("type") for kind in kinds}
    if types & {"integer", "number", "boolean", "object", "array"}:
        yield "many"
    elif "string" in types:
        yield 5


REFUSED = [
    pytest.param(key, value, id=f"{key}={value}")
    for section in SECTIONS
    for key, kinds in settings_of(section, section_schema(section))
    for value in refused_values(kinds)
]


def nested(key, value):
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


def test_every_method_and_every_operator_has_golden_numbers():
    assert {method.kind for method in METHODS.values()} <= GOLDEN.keys()
    assert {operator.kind for operator in OPERATORS} <= GOLDEN.keys()


def test_the_documentation_has_a_row_for_each_method():
    section = re.search(r"\n## Methods\n(.*?)\n## ", (ROOT / "docs/method.md").read_text(encoding="utf-8"), re.DOTALL)
    assert re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE) == list(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_the_folder_of_a_method_has_what_computes_it(name):
    method = METHODS[name]
    function = "instance_scores" if isinstance(method, InstanceLevel) else method.computed_by
    assert list(inspect.signature(getattr(method.compute, function)).parameters) == ["method", "spec", "paths"]


def test_every_operator_can_run_and_has_a_method_and_a_cure():
    for operator in OPERATORS:
        assert operator.name in METHODS
        assert operator.kind.cure
        assert list(inspect.signature(operator.compute.run).parameters) == ["job"]


def test_sections_of_methods_are_declared_in_their_folders_and_described():
    for name, field in Attribution.model_fields.items():
        assert re.match(r"guda\.(methods|unlearning)\.\w+\.plan$", field.annotation.__module__), name
        assert field.description, name


@pytest.mark.parametrize(("key", "value"), REFUSED)
def test_a_value_that_a_setting_rules_out_is_refused_by_its_key(key, value):
    with pytest.raises(ConfigError) as caught:
        load_config(nested(key, value))
    assert re.search(rf"^  {re.escape(key)}\b", str(caught.value), re.MULTILINE), caught.value


@pytest.mark.parametrize("section", SECTIONS)
def test_a_typo_in_a_key_is_refused_with_the_key_that_was_meant(section):
    key = next(iter(section_schema(section)["properties"]))
    with pytest.raises(ConfigError, match=rf"  {re.escape(section)}\.{key}s: unknown key; did you mean '{key}'"):
        load_config(nested(f"{section}.{key}s", 1))


def test_a_method_of_another_kind_is_refused_by_name():
    assert method_of(InstanceLevel, "nearest") is METHODS["nearest"]
    with pytest.raises(GudaError, match="method 'guda' is of kind Unlearned, not InstanceLevel"):
        method_of(InstanceLevel, "guda")

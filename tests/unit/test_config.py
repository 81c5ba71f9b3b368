"""What errors a wrong configuration gives, and that all descriptions of the configuration agree."""

import re
from pathlib import Path

import pytest
import yaml

from config_schema import generated
from guda.config import Section
from guda.config.file import read_yaml
from guda.core.errors import ConfigError
from guda.plan.config import Config, load_config
from guda.unlearning.retrack.plan import Unlearning

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = [*sorted((ROOT / "presets").glob("*.yaml")), ROOT / "tests" / "workflow" / "tiny.yaml"]
MERGE = """
defaults: &defaults {steps: 5}
training: {<<: *defaults, seed: 1}
"""


def problems(values):
    """The lines that a wrong configuration is answered with, without the headline."""
    with pytest.raises(ConfigError) as caught:
        load_config(values)
    return str(caught.value).splitlines()[1:]


def problem(values):
    (line,) = problems(values)
    return line.strip()


def merged(base, overlay):
    """Snakemake's merging of configurations: mappings key by key, everything else replaced."""
    if not (isinstance(base, dict) and isinstance(overlay, dict)):
        return overlay
    return base | {key: merged(base.get(key), value) for key, value in overlay.items()}


def flat(values, prefix=""):
    """Dotted keys of nested mappings; an empty mapping is a value."""
    if not (isinstance(values, dict) and values):
        return {prefix: values}
    return {key: leaf for name, value in values.items() for key, leaf in flat(value, f"{prefix}.{name}").items()}


def sections(model=Config):
    """`model` and the models of all its fields, with the path of keys that leads to each."""
    yield "", model
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            for path, section in sections(field.annotation):
                yield f".{name}{path}", section


# --- unknown keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "key", "nearest"),
    [
        ({"trainng": {}}, "trainng", "training"),
        ({"training": {"stesp": 5}}, "training.stesp", "steps"),
        ({"elbo": {"steps": {"strid": 5}}}, "elbo.steps.strid", "stride"),
        ({"attribution": {"calibration": {"cuont": 5}}}, "attribution.calibration.cuont", "count"),
        ({"unlearn": {"overrides": {"amber": {"forget_wieght": 1}}}}, "overrides.amber.forget_wieght", "forget_weight"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_name(values, key, nearest):
    line = problem(values)
    assert f"{key}: unknown key" in line
    assert f"did you mean {nearest!r}?" in line


def test_an_unknown_key_that_resembles_none_is_answered_with_all_known_names():
    line = problem({"figure": {"zzz": 1}})
    assert line == "figure.zzz: unknown key; known: queries, top"


def test_overrides_do_not_nest():
    assert "overrides.amber.overrides: unknown key" in problem({"unlearn": {"overrides": {"amber": {"overrides": {}}}}})


# --- wrong values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "key", "found"),
    [
        ({"training": {"steps": "many"}}, "training.steps", "'many'"),
        ({"training": {"steps": 2.5}}, "training.steps", "2.5"),
        ({"training": {"steps": 0}}, "training.steps", "0"),
        ({"training": {"steps": None}}, "training.steps", "None"),
        ({"training": {"steps": True}}, "training.steps", "True"),
        ({"training": {"learning_rate": float("nan")}}, "training.learning_rate", "nan"),
        ({"training": {"learning_rate": float("inf")}}, "training.learning_rate", "inf"),
        ({"training": {"ema_decay": 1}}, "training.ema_decay", "1"),
        ({"training": [1]}, "training", "[1]"),
        ({"oracle": {"seeds": [1, -2]}}, "oracle.seeds.1", "-2"),
        ({"unet": {"block_out_channels": 16}}, "unet.block_out_channels", "16"),
        ({"noise_schedule": {"beta_schedule": "cosine"}}, "noise_schedule.beta_schedule", "'cosine'"),
        ({"data": {"groups": [1, "amber"]}}, "data.groups.0", "1"),
        ({"results": ""}, "results", "''"),
        ({"data": {"groups_from": ""}}, "data.groups_from", "''"),
        ({"oracle": {"seeds": [True]}}, "oracle.seeds", "[True]"),
        ({"attribution": {"ensemble": {"members": {"guda": True}}}}, "attribution.ensemble.members", "{'guda': True}"),
        ({"oracle": {"seeds": [0, False]}}, "oracle.seeds", "[0, False]"),
        ({"data": {"size": [True, 8]}}, "data.size", "[True, 8]"),
        ({"unet": {"block_out_channels": [True, 8]}}, "unet.block_out_channels", "[True, 8]"),
        ({"removal": {"groups": [True]}}, "removal.groups", "[True]"),
        ({"data": {"groups": ["amber", False]}}, "data.groups", "['amber', False]"),
        ({"data": {"group_by": False}}, "data.group_by", "False"),
        ({"data": {"conditions": {"a": False}}}, "data.conditions.a", "False"),
        ({"execution": {"gpus": True}}, "execution.gpus", "True"),
        ({"oracle": {"seeds": [2**63]}}, "oracle.seeds.0", str(2**63)),
        ({"metrics": {"bootstrap_samples": 1}}, "metrics.bootstrap_samples", "1"),
        ({"metrics": {"bootstrap_samples": 39}}, "metrics.bootstrap_samples", "39"),
    ],
)
def test_a_wrong_value_is_answered_with_its_key_and_what_was_found(values, key, found):
    line = problem(values)
    assert line.startswith(f"{key}: ")
    assert line.endswith(f"(found {found})")


@pytest.mark.parametrize(
    ("results", "found"),
    [
        ("a<logs>", "contains a brace, < or >"),
        ("{b}", "contains a brace"),
        ("-rf", "begins with a dash"),
        ("./-rf", "begins"),
    ],
)
def test_names_of_results_that_snakemake_or_a_shell_would_misread_are_refused(results, found):
    assert f"results: {results!r} {found}" in problem({"results": results})


def test_a_wrong_value_in_an_override_names_the_group_the_key_and_the_value():
    line = problem({"unlearn": {"overrides": {"amber": {"steps": "many"}}}})
    assert "overrides.amber.steps: " in line
    assert "found 'many'" in line


@pytest.mark.parametrize("value", [False, 5])
def test_what_yaml_reads_as_something_else_than_text_is_answered_with_the_cure(value):
    for values in ({"data": {"groups": ["amber", value]}}, {"results": value}, {"data": {"conditions": {"a": value}}}):
        assert "expected text; put numbers and the words yes, no, on, off, and dates in quotes" in problem(values)


def test_a_column_to_group_by_may_be_null_where_something_else_says_what_the_groups_are():
    told = "neither `conditions` nor `memberships` says what the groups are; give one of them, or a column"
    assert problem({"data": {"group_by": None}}) == f"data: `group_by` is null, and {told}"
    assert load_config({"data": {"group_by": None, "conditions": {"a": "x == 1"}}}).data.grouped_by is None


@pytest.mark.parametrize("value", [2**63, 10**30, str(2**70), 10**400])
def test_numbers_that_nothing_holds_are_refused_in_a_short_line(value):
    for values in (
        {"training": {"steps": value}},
        {"training": {"warmup_steps": value}},
        {"unet": {"block_out_channels": [value, value]}},
        {"execution": {"checkpoint_steps": value}},
    ):
        assert all(len(line) < 250 for line in problems(values))
    assert problem({"training": {"learning_rate": 10**400}}).startswith("training.learning_rate: expected a number")


def test_the_home_folder_may_be_written_as_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    text = {"prompts": {"captions": "~/c.json", "descriptors": "~/d.json"}, "queries": {"file": "~/q.csv"}}
    values = {
        "results": "~/results",
        "data": {"dataset": "image_folder", "folder": "~/a", "table": "~/t.csv", "memberships": "~/m.csv"},
        "model": {"pretrained": "~/model"},
        "unlearn": {"import": {"amber": "~/forgot"}},
        "queries": {"folder": "~/own", "table": "~/own.csv"},
        "attribution": {"embedding": {"model": "~/vision"}},
        "text_to_image": {"pipeline": "~"} | text,
    }
    loaded = load_config(values)
    found, given = flat(loaded.model_dump(by_alias=True)), flat(values)
    for key, value in given.items():
        assert found[key] == value.replace("~", "/home/ann"), key
    assert load_config({"text_to_image": {"prompts": {"table": "~/p.csv"}}}).text_to_image.prompts.table[0] == "/"
    # As its environment hands the configuration to a job, and elsewhere than at the beginning, it stays as it is.
    assert Config.model_validate_json(loaded.model_dump_json(by_alias=True)) == loaded
    assert load_config({"results": "a~b/~"}).results == "a~b/~"


def test_several_problems_are_listed_one_a_line():
    lines = problems({"trainng": {}, "queries": {"count": 0}, "elbo": {"seed": "x"}})
    assert sorted(line.split(":")[0].strip() for line in lines) == ["elbo.seed", "queries.count", "trainng"]


def test_the_headline_counts_the_problems():
    with pytest.raises(ConfigError, match=r"^the configuration has 2 problem"):
        load_config({"a": 1, "b": 2})


def test_a_number_that_yaml_reads_as_text_is_a_number():
    values = yaml.safe_load("training: {learning_rate: 1e-4}")
    assert values["training"]["learning_rate"] == "1e-4"
    assert load_config(values).training.learning_rate == 1e-4


# --- values that do not fit each other ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"training": {"steps": 10, "warmup_steps": 10}}, ["training", "warmup_steps is 10", "10 steps"]),
        ({"unlearn": {"steps": 4, "warmup_steps": 9}}, ["unlearn", "warmup_steps is 9", "4 steps"]),
        ({"unlearn": {"overrides": {"amber": {"steps": 1, "warmup_steps": 1}}}}, ["overrides.amber", "warmup_steps"]),
        ({"noise_schedule": {"num_train_timesteps": 100}, "elbo": {"steps": {"first": 1, "last": 100}},
          "queries": {"sampling_steps": 5}}, ["elbo.steps.last is 100", "99"]),
        ({"noise_schedule": {"num_train_timesteps": 100}, "elbo": {"steps": {"first": 1, "last": 99}},
          "queries": {"sampling_steps": 101}}, ["queries.sampling_steps"]),
        ({"queries": {"count": 3, "buckets": 4}}, ["queries", "buckets is 4", "count is 3"]),
        ({"elbo": {"steps": {"first": 9, "last": 8}}}, ["elbo.steps", "first is 9", "last 8"]),
        ({"likelihood": {"groups": ["amber"]}}, ["likelihood", "['amber']", "two or more"]),
        ({"oracle": {"seeds": [1, 2, 1]}}, ["oracle", "[1, 2, 1]"]),
        ({"oracle": {"seeds": [], "own_base": True}}, ["oracle", "own_base", "[]"]),
        ({"oracle": {"seeds": []}, "lds": {"subsets": 20}}, ["lds.subsets is 20", "oracle.seeds", "[]"]),
        ({"oracle": {"seeds": []}, "removal": {"queries": 4}}, ["removal.queries is 4", "oracle.seeds", "[]"]),
        ({"unlearn": {"seeds": [1, 2, 1]}}, ["unlearn", "[1, 2, 1]"]),
        ({"unlearn": {"seeds": [1, 2], "overrides": {"amber": {"seed": 3}}}}, ["seeds [1, 2]", "overrides.amber.seed"]),
        ({"unlearn": {"seeds": [1], "import": {"amber": "model"}}}, ["seeds [1]", "import.amber"]),
        ({"unlearn": {"seeds": [1, 2]}, "sweep": {"unlearn": [{"seed": [1, 2]}]}}, ["sweep.unlearn.seed", "[1, 2]"]),
        ({"methods": ["guda", "random", "guda"]}, ["methods", "guda"]),
        ({"unet": {"block_out_channels": [8] * 3, "down_block_types": ["DownBlock2D"] * 3,
                   "up_block_types": ["UpBlock2D"] * 2}}, ["unet", "up_block_types has 2", "block_out_channels has 3"]),
        ({"unet": {"block_out_channels": [8, 12], "down_block_types": ["DownBlock2D"] * 2,
                   "up_block_types": ["UpBlock2D"] * 2, "norm_num_groups": 8}}, ["unet", "12", "norm_num_groups 8"]),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_each_other_are_refused_with_both_named(values, parts):
    line = problem(values)
    assert all(part in line for part in parts), line


@pytest.mark.parametrize(
    "values",
    [
        {"training": {"steps": 10, "warmup_steps": 9}},
        {"noise_schedule": {"num_train_timesteps": 100}, "elbo": {"steps": {"first": 99, "last": 99}},
         "queries": {"sampling_steps": 100}},
        {"oracle": {"seeds": []}},
        {"queries": {"count": 4, "buckets": 4}},
        {"queries": {"sampling_steps": 300, "sampler": "dpmsolver++"}},
        {"queries": {"sampling_steps": 300, "folder": "own"}},
        {"noise_schedule": {"beta_schedule": "linear", "beta_start": 0.02, "beta_end": 0.02}},
        {"unet": {"freq_shift": 7}},
        {"unet": {"attn_norm_num_groups": 3}},
        {"unet": {"attention_head_dim": None, "add_attention": True}},
    ],
)  # fmt: skip
def test_values_at_the_limit_are_accepted(values):
    loaded = load_config(values).model_dump()
    assert all(flat(loaded)[key] == value for key, value in flat(values).items())


# --- overrides ---------------------------------------------------------------------------------------


def test_an_override_changes_its_group_only():
    unlearn = load_config({"unlearn": {"steps": 30, "warmup_steps": 0, "overrides": {"amber": {"steps": 40}}}}).unlearn
    assert (unlearn.for_group("amber").steps, unlearn.for_group("birch").steps) == (40, 30)
    assert unlearn.for_group("amber").model_copy(update={"steps": 30}) == unlearn.for_group("birch")
    assert type(unlearn.for_group("amber")) is Unlearning


# --- reading YAML ------------------------------------------------------------------------------------


def written(tmp_path, text):
    path = tmp_path / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_yaml_is_read_as_nested_mappings(tmp_path):
    path = written(tmp_path, "training:\n  steps: 3\ndata: {groups: [amber, 'é']}\n")
    assert read_yaml(path) == {"training": {"steps": 3}, "data": {"groups": ["amber", "é"]}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training:\n  steps: 3\n  seed: 1\n  steps: 4\n", "line 4: the key 'steps' stands twice"),
        ("training: {}\nelbo: {}\ntraining: {}\n", "line 3: the key 'training' stands twice"),
        ("unlearn:\n  overrides:\n    1: {steps: 3}\n", "line 3: the key 1 is read as int; put it in quotes"),
        ("training: {}\nno: 1\n", "line 2: the key no is read as bool; put it in quotes"),
        ("training: {\n", "not valid YAML"),
        ("- training\n", "expected a mapping of keys, found list"),
        ("just text\n", "expected a mapping of keys, found str"),
        ("training:\n  steps: 0100\n", "line 2: training.steps: 0100 is read as 64; write the number in plain decimal"),
        ("training: {warmup_steps: 1:30}\n", "line 1: training.warmup_steps: 1:30 is read as 90"),
        ("oracle:\n  seeds:\n  - 1\n  - -0_17\n", "line 4: oracle.seeds: -0_17 is read as -15"),
        ("training: {steps: 1_000}\n", "training.steps: 1_000 is read as 1000; write"),
        ("training: {steps: 0x10}\n", "training.steps: 0x10 is read as 16"),
        ("training: {steps: 0b11}\n", "training.steps: 0b11 is read as 3"),
        ("training: {learning_rate: 1_0.5}\n", "training.learning_rate: 1_0.5 is read as 10.5"),
        ("data: {groups: [190:20:30, x]}\n", "data.groups: 190:20:30 is read as 685230; write .* put a name in quotes"),
        ("unlearn: {overrides: {amber: {steps: 010}}}\n", "unlearn.overrides.amber.steps: 010 is read as 8"),
        ("a: " + "[" * 5000 + "\n", "nested too deeply"),
        ("a: &a [*a]\n", "holds itself"),
        ('data:\n  group_by: "x\\ud800"\n', "line 2: data.group_by has half of a character"),
        ("a: " + "1" * 5000 + "\n", "put names in quotes"),
        ("a: 2020-13-01\n", "month must be in 1..12; put names in quotes"),
    ],
)
def test_yaml_that_says_something_else_than_it_seems_is_refused_with_file_and_line(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)
    assert re.search(message, str(caught.value))


def test_plain_numbers_are_read_as_they_stand(tmp_path):
    text = "[0, 00, -7, +12, 100, 1.5, .5, 5., -0.25, 1.5e+3, 2.5E-3, 9223372036854775808, '0100', '1:30']"
    found = [0, 0, -7, 12, 100, 1.5, 0.5, 5.0, -0.25, 1500.0, 0.0025, 2**63, "0100", "1:30"]
    assert read_yaml(written(tmp_path, f"a: {text}\n")) == {"a": found}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read"):
        read_yaml(tmp_path / "absent.yaml")


def test_a_file_that_is_no_utf8_is_named(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("results: é\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml"):
        read_yaml(path)


def test_merge_keys_are_read_as_snakemake_reads_them(tmp_path):
    assert read_yaml(written(tmp_path, MERGE)) == yaml.safe_load(MERGE)


def test_objects_are_never_made_from_yaml(tmp_path):
    planted = tmp_path / "planted"
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_yaml(written(tmp_path, f"results: !!python/object/apply:os.mkdir ['{planted}']\n"))
    assert not planted.exists()


# --- the three descriptions agree --------------------------------------------------------------------


@pytest.mark.parametrize("name", generated())
def test_generated_files_are_those_that_the_models_give(name):
    found = (ROOT / name).read_text(encoding="utf-8")
    assert found == generated()[name], "regenerate it: python workflow_scripts/config_schema.py"


def test_config_yaml_holds_every_key_with_its_default():
    shown, defaults = flat(read_yaml(ROOT / "config.yaml")), flat(Config().model_dump(mode="json", by_alias=True))
    assert shown.keys() == defaults.keys()
    differing = {key: (shown[key], defaults[key]) for key in defaults if shown[key] != defaults[key]}
    assert not differing, f"config.yaml and guda/config differ: {differing}"


@pytest.mark.parametrize(("path", "section"), [pytest.param(*pair, id=pair[0] or ".") for pair in sections()])
def test_every_field_has_a_description(path, section):
    assert section.model_fields
    assert [name for name, field in section.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_every_shipped_configuration_is_valid(overlay):
    values = merged(read_yaml(ROOT / "config.yaml"), read_yaml(overlay))
    loaded = flat(load_config(values).model_dump(mode="json"))
    changed = flat(read_yaml(overlay))
    assert {key: loaded[key] for key in changed} == changed

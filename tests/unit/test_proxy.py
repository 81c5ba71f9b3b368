"""Proxies: the oracle in small, with a base model of their own."""

import pytest
from experiments import experiment
from text_experiments import text_experiment

from guda.config import Training, UNet
from guda.core.errors import ConfigError
from guda.core.paths import BASE_PROXY, logo_model, proxy_model
from guda.methods import method_of
from guda.methods.ensemble.plan import EnsembleOf
from guda.methods.proxy.plan import Proxy, shortened
from guda.models.health import healths
from guda.specs import TrainSpec


def planned(**proxy):
    return experiment(methods=["proxy"], attribution={"proxy": proxy})


def test_proxies_as_wide_and_as_long_as_the_base_model_are_an_oracle():
    of = planned(width=1, length=1, seed=7)
    assert of.model_spec(BASE_PROXY) == of.family.trained(7, None)
    for group in of.groups:
        assert of.model_spec(proxy_model(group)) == of.model_spec(logo_model(7, group))


def test_a_group_called_base_has_a_proxy_of_its_own():
    of = experiment(
        methods=["proxy"], data={"groups": None, "conditions": {"base": "label == '1'", "b": "label == '2'"}}
    )
    everything, without = of.model_spec(BASE_PROXY), of.model_spec(of.method_spec("proxy").model_names["base"])
    assert everything.excluded is None
    assert without.excluded == of.group_digest("base")


@pytest.mark.parametrize(
    ("channels", "settings", "share", "expected"),
    [
        ([16, 32], {}, 0.5, [8, 16]),
        ([32, 64, 64], {}, 0.25, [8, 16, 16]),
        ([128, 256], {"norm_num_groups": 32}, 0.5, [64, 128]),
        ([8, 16], {}, 0.5, [8, 8]),  # no narrower than the groups of the normalization
        ([24, 48], {"attention_head_dim": 12}, 0.5, [24, 24]),  # multiples of 8 and 12
        ([48, 48], {"attention_head_dim": None}, 0.7, [32, 32]),  # 33.6
        ([32, 64], {"attention_head_dim": 64}, 0.5, [32, 64]),
        ([16, 24], {}, 1, [16, 24]),
    ],
)
def test_channels_by_hand(channels, settings, share, expected):
    blocks = {"down_block_types": ["DownBlock2D"] * len(channels), "up_block_types": ["UpBlock2D"] * len(channels)}
    full = UNet(block_out_channels=channels, **blocks, **settings)
    narrow = full.narrowed(share)
    assert narrow.block_out_channels == expected
    assert narrow.model_copy(update={"block_out_channels": channels}) == full
    assert UNet.model_validate(narrow.model_dump()) == narrow


@pytest.mark.parametrize(
    ("steps", "warmup", "length", "expected"),
    [(1500, 50, 0.5, (750, 25)), (10, 9, 0.1, (1, 0)), (5, 0, 0.01, (1, 0)), (20, 2, 1, (20, 2))],
)
def test_steps_by_hand(steps, warmup, length, expected):
    full = Training(steps=steps, warmup_steps=warmup, seed=3)
    short = shortened(full, Proxy(length=length, seed=8))
    assert (short.steps, short.warmup_steps, short.seed) == (*expected, 8)
    assert short.model_copy(update={"steps": steps, "warmup_steps": warmup, "seed": 3}) == full
    assert Training.model_validate(short.model_dump()) == short


def test_the_base_proxy_is_scored_and_costs():
    of = planned()
    spec = of.method_spec("proxy")
    needs = of.method_files("proxy")
    assert spec.base == of.model_digest(BASE_PROXY)
    assert spec.calibration is None
    assert spec.size == 0.25  # 8 and 16 channels for 16 and 32
    assert not any("models/base/" in file or "elbo/base/" in file for file in needs)
    for name in [BASE_PROXY, *map(proxy_model, of.groups)]:
        assert isinstance(of.model_spec(name), TrainSpec)
        assert of.paths.model_record(name) in needs
        assert {of.paths.elbo(name, bucket) for bucket in of.buckets} < set(needs)


def test_an_evaluation_of_a_proxy_counts_a_quarter_in_an_ensemble_too():
    of = experiment(methods=["ensemble"], attribution={"ensemble": {"members": {"proxy": 1, "guda": 1}}})
    sizes = method_of(EnsembleOf, "ensemble").needs(of.method_spec("ensemble"), of.paths).sizes
    assert set(sizes.values()) == {0.25}
    names = [BASE_PROXY, *map(proxy_model, of.groups)]
    assert sizes.keys() == {
        *map(of.paths.model_record, names),
        *(of.paths.elbo_record(name, bucket) for name in names for bucket in of.buckets),
    }


def test_the_seed_of_an_oracle_is_refused():
    with pytest.raises(ConfigError, match=r"attribution\.proxy\.seed is 2, which is one of oracle\.seeds: .*another"):
        planned(seed=2)


def test_text_to_image_models_have_no_proxies():
    with pytest.raises(ConfigError, match="proxy"):
        text_experiment(methods=["proxy"])


def test_every_model_of_an_ensemble_is_compared_with_its_own_base_model():
    def record(**errors):
        return {"health": {"loss": 0.5, "errors": errors}, "spec": '{"stage": "train"}'}

    records = {
        "proxy/base": record(x=2.0, y=4.0),
        "proxy/a": record(x=3.0, y=6.0),
        "base": record(x=1.0, y=1.0),
        "logo-1/a": record(x=2.0),
        "guda/a": {"health": {"loss": 0.5, "ratio": 1.25}, "spec": '{"stage": "unlearn"}'},
    }
    found = {name: health.ratio for name, health in healths(records).items()}
    assert found == {"proxy/a": 9 / 6, "logo-1/a": 2.0, "guda/a": 1.25}
    alone = healths({name: records[name] for name in ("base", "proxy/a")})
    assert alone["proxy/a"].ratio is None

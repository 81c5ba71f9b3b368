"""Unlearning by anchors: which style takes a prompt's place, and what is learned from it."""

import dataclasses
import math

import pytest
import torch
from text_inputs import IDS, LATENTS, captions, normal, prompts, text_denoiser, weights_of

from guda.core.artifacts import save_tensors
from guda.core.errors import DataError
from guda.specs import ImagesSpec
from guda.training.state import Execution, TrainingState
from guda.unlearning.anchors.compute import (
    NO_STYLE,
    TENSORS,
    AnchorBook,
    DrawnAnchors,
    anchor_loss,
    anchor_weights,
    pick,
    read_anchors,
    style_prototypes,
    unlearn,
)
from guda.unlearning.anchors.plan import Anchors

SPEC = ImagesSpec(dataset="d", content="c")  # any will do
SHORT = Anchors(steps=3, batch_size=4, learning_rate=1e-3, warmup_steps=0, seed=4)
FORGET = torch.arange(8) < 3  # of style 0
ALL = torch.ones(3, dtype=torch.bool)


def book(**changes):
    """Three styles and two contents: two prompts of each pair, one of each content alone."""
    pairs = [(style, content) for style in range(3) for content in range(2) for _ in range(2)]
    pairs += [(NO_STYLE, 0), (NO_STYLE, 1)]
    styles, contents = (torch.tensor(column) for column in zip(*pairs, strict=True))
    tensors = {
        "embeddings": prompts(len(pairs), seed=21),
        "styles": styles,
        "contents": contents,
        "prototypes": torch.eye(3, 6),
        "image_styles": torch.tensor([0, 0, 0, 1, 1, 1, 2, 2]),
        "image_contents": torch.tensor([0, 1, 0, 1, 0, 1, 0, 1]),
    }
    return AnchorBook(**tensors | changes)


# --- the style of an anchor --------------------------------------------------------------------------


def test_weights_by_hand():
    # Cosines of (3, 4) with the axes: 0.6, 0.8, and 0 with the third; lengths do not matter.
    prompt, prototypes = torch.tensor([3.0, 4, 0]), torch.diag(torch.tensor([1.0, 7, 2]))
    powers = [math.exp(2 * 0.6), math.exp(2 * 0.8), 1]
    expected = [0.7 * power / sum(powers) + 0.1 for power in powers]
    found = anchor_weights(prompt, prototypes, ALL, 2.0, 0.3)
    assert found.tolist() == pytest.approx(expected, rel=1e-6)
    assert found.sum().item() == pytest.approx(1, abs=1e-12)


def test_a_style_that_is_not_retained_has_no_weight():
    prompt, prototypes = torch.tensor([3.0, 4, 0]), torch.eye(3)
    found = anchor_weights(prompt, prototypes, torch.tensor([True, False, True]), 2.0, 0.3)
    power = math.exp(2 * 0.6)
    assert found.tolist() == pytest.approx([0.7 * power / (power + 1) + 0.15, 0, 0.7 / (power + 1) + 0.15], rel=1e-6)
    assert found[1] == 0


@pytest.mark.parametrize(("sharpness", "uniform_share"), [(0.0, 0.0), (0.0, 0.3), (50.0, 1.0)])
def test_no_sharpness_or_all_uniform_is_uniform(sharpness, uniform_share):
    found = anchor_weights(normal(0, 6), normal(1, 5, 6), torch.tensor([1, 1, 0, 1, 1]) > 0, sharpness, uniform_share)
    torch.testing.assert_close(found, torch.tensor([0.25, 0.25, 0, 0.25, 0.25], dtype=torch.float64))


def test_great_sharpness_takes_the_nearest():
    found = anchor_weights(torch.tensor([3.0, 4, 0]), torch.eye(3), ALL, 1e6, 0.0)
    assert found.tolist() == [0, 1, 0]


def test_a_prototype_is_the_direction_of_the_mean():
    pooled = torch.tensor([[1.0, 0], [0, 2], [0, -5], [4.0, 0]])
    # Of the first style (1, 0) and (4, 0); of the second (0, 2) and (0, -5), with the mean (0, -1.5).
    found = style_prototypes(pooled, torch.tensor([0, 1, 1, 0]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 0], [0, -1]]))


@pytest.mark.parametrize(("point", "style"), [(0.0, 1), (0.2499, 1), (0.25, 3), (0.999999, 3)])
def test_a_point_falls_into_one_share(point, style):
    assert pick(torch.tensor([0, 0.25, 0, 0.75, 0], dtype=torch.float64), point) == style


def test_rounding_leaves_no_point_outside():
    assert pick(torch.tensor([0.1, 0.2, 0, 0]), 0.9999) == 1


def test_a_style_is_retained_when_most_of_its_images_are():
    of = book()
    assert of.retained_styles(FORGET).tolist() == [False, True, True]
    # One image of another style in the group, one of its own outside.
    assert of.retained_styles(torch.tensor([1, 1, 0, 1, 0, 0, 0, 0]) > 0).tolist() == [False, True, True]
    assert of.retained_styles(torch.tensor([0, 0, 0, 0, 0, 0, 1, 0]) > 0).tolist() == [True, True, False]


# --- the anchors of images ---------------------------------------------------------------------------


def chosen(settings, of=None, n=600, row=0, prompt=None):
    """Styles and contents of an image's anchors at n steps."""
    of = of or book()
    drawn = DrawnAnchors(of, of.retained_styles(FORGET), IDS, settings)
    pooled = torch.zeros(1, 6) if prompt is None else prompt[None]
    numbers = torch.cat([drawn.choose(torch.tensor([row]), pooled, step) for step in range(n)])
    return of.styles[numbers], of.contents[numbers], numbers


@pytest.mark.parametrize("row", [0, 1])
def test_anchors_keep_the_content_and_never_name_the_forgotten_style(row):
    styles, contents, numbers = chosen(SHORT, row=row)
    assert set(contents.tolist()) == {row}
    assert set(styles.tolist()) == {1, 2}
    assert len(numbers.unique()) == 4  # both prompts of both pairs


def test_styles_come_in_the_shares_of_their_weights():
    # cos = 0 with style 1 and 1 with style 2: 0.7 e^2 / (1 + e^2) + 0.15 for the latter.
    expected = 0.7 * math.exp(2) / (1 + math.exp(2)) + 0.15
    for strategy, share in [("weighted", expected), ("uniform", 0.5)]:
        settings = SHORT.model_copy(update={"strategy": strategy})
        styles, _, _ = chosen(settings, n=2000, prompt=torch.eye(3, 6)[2])
        assert (styles == 2).double().mean().item() == pytest.approx(share, abs=4 * 0.5 / 2000**0.5)


def test_removed_is_the_content_alone():
    styles, contents, _ = chosen(SHORT.model_copy(update={"strategy": "removed"}), n=20, row=1)
    assert (set(styles.tolist()), set(contents.tolist())) == ({NO_STYLE}, {1})


def test_a_style_without_prompts_of_the_content_is_passed_over():
    whole = book()
    kept = ~((whole.styles == 2) & (whole.contents == 0))
    less = book(**{name: getattr(whole, name)[kept] for name in ("embeddings", "styles", "contents")})
    assert set(chosen(SHORT, less)[0].tolist()) == {1}
    assert set(chosen(SHORT, less, row=1)[0].tolist()) == {1, 2}


def test_content_without_any_anchor_is_named():
    whole = book()
    kept = whole.contents == 1
    less = book(**{name: getattr(whole, name)[kept] for name in ("embeddings", "styles", "contents")})
    with pytest.raises(DataError, match="i0: no anchor prompt for its content has a retained style"):
        chosen(SHORT, less)
    with pytest.raises(DataError, match="i0: no anchor prompt names only its content"):
        chosen(SHORT.model_copy(update={"strategy": "removed"}), less)


def test_an_anchor_depends_on_seed_step_and_image_alone():
    of, pooled = book(), normal(3, 8, 6)
    drawn = DrawnAnchors(of, of.retained_styles(FORGET), IDS, SHORT)
    together = torch.stack([drawn.choose(torch.arange(8), pooled, step) for step in range(20)])
    backwards = torch.stack([drawn.choose(torch.arange(8).flip(0), pooled.flip(0), step) for step in range(20)])
    assert torch.equal(together, backwards.flip(1))
    assert not torch.equal(chosen(SHORT)[2], chosen(SHORT.model_copy(update={"seed": 5}))[2])


def test_a_book_is_read_back(tmp_path):
    save_tensors(tmp_path / "anchors.safetensors", {name: getattr(book(), name) for name in TENSORS}, SPEC)
    read = read_anchors(tmp_path / "anchors.safetensors", SPEC.digest())
    assert all(torch.equal(getattr(read, name), getattr(book(), name)) for name in TENSORS)


# --- unlearning --------------------------------------------------------------------------------------


class Told:
    """Predicts the first number of each prompt that it is bound to, plus an offset."""

    def __init__(self, prompts, offset=0.0):
        self.prompts, self.offset = prompts, offset

    def of(self, rows):
        return Told(self.prompts[list(rows)], self.offset)

    def add_noise(self, x, noise, t):
        return x + noise

    def predict_noise(self, x_t, t):
        return (self.prompts[:, 0, :1, None, None] + self.offset).expand_as(x_t)


@pytest.mark.parametrize(
    ("preserve", "expected"),
    # Forget: told 1 plus 0.5, anchor 3: 1.5^2. Retained: told 2 plus 0.5, against 2, or against the noise 4.
    [("distillation", 1.5**2 + 2 * 0.5**2), ("denoising", 1.5**2 + 2 * 1.5**2)],
)
def test_loss_by_hand(preserve, expected):
    own, anchors = torch.zeros(3, 5, 8), torch.full((1, 5, 8), 3.0)
    own[:, 0, 0] = torch.tensor([1.0, 2, 2])
    x, noise, t = torch.zeros(3, 4, 2, 2), torch.full((3, 4, 2, 2), 4.0), torch.tensor([1, 2, 3])
    settings = SHORT.model_copy(update={"preserve": preserve})
    student, full = Told(own, 0.5), Told(torch.cat([anchors, own[1:]]))
    assert anchor_loss(student, full, x, noise, t, 1, settings).item() == pytest.approx(expected)


def unlearned(settings=SHORT, of=None, told=None, **options):
    return unlearn(text_denoiser(), LATENTS, FORGET, told or captions(), of or book(), settings, **options)[0]


def one_prompt():
    """Captions that are one and the same."""
    of = captions()
    return dataclasses.replace(of, embeddings=of.embeddings[:1].expand(5, -1, -1))


def test_anchors_that_are_the_prompts_themselves_teach_nothing():
    """The full model's predictions are where it begins: both terms are zero, and so is the gradient."""
    same = book(embeddings=one_prompt().embeddings[:1].expand(14, -1, -1))
    for weight in (0.0, 2.0):
        settings = SHORT.model_copy(update={"retain_weight": weight, "steps": 2})
        assert torch.equal(weights_of(unlearned(settings, same, one_prompt())), weights_of(text_denoiser()))
    assert not torch.equal(weights_of(unlearned(told=one_prompt())), weights_of(text_denoiser()))


def test_it_brings_the_forgotten_prompt_to_the_anchor_and_holds_the_others():
    """Forget images have prompt 0, retained ones prompt 4, and there is one anchor."""
    numbers = torch.where(FORGET, 0, 4)
    told = dataclasses.replace(captions(), embeddings=2 * prompts(5), prompts=numbers, starts=torch.arange(9))
    anchor = 2 * prompts(1, seed=21).expand(14, -1, -1)
    settings = SHORT.model_copy(update={"steps": 40})
    full, student = text_denoiser(), unlearned(settings, book(embeddings=anchor), told)
    t = torch.linspace(50, 950, 8).long()
    x_t, own = full.add_noise(LATENTS, normal(40, *LATENTS.shape), t), told.embeddings[numbers]
    target = torch.where(FORGET[:, None, None], anchor[:8], own)
    with torch.no_grad():
        of_full, wanted = full.predict_noise(x_t, t, own), full.predict_noise(x_t, t, target)
        error = (student.predict_noise(x_t, t, own) - wanted).square().mean((1, 2, 3))
    away = (of_full - wanted).square().mean((1, 2, 3))[FORGET].mean()
    assert error[FORGET].mean() < 0.5 * away
    assert error[~FORGET].mean() < 0.25 * away


def test_it_repeats_and_leaves_the_full_model_alone():
    full = text_denoiser()
    before = weights_of(full)
    one, other = (unlearn(full, LATENTS, FORGET, captions(), book(), SHORT)[0] for _ in range(2))
    assert torch.equal(weights_of(one), weights_of(other))
    assert torch.equal(weights_of(full), before)
    assert not torch.equal(weights_of(one), before)
    assert not one.training
    assert not torch.equal(weights_of(unlearned(SHORT.model_copy(update={"seed": 5}))), weights_of(one))


class Cut(BaseException):
    """What stops a training from outside."""


def test_cut_off_and_continued_gives_the_same_weights(tmp_path, monkeypatch):
    straight, state = weights_of(unlearned()), TrainingState(tmp_path, SPEC, 1)
    choose = DrawnAnchors.choose

    def cut_off(self, rows, pooled, step):
        if step == 2:
            raise Cut
        return choose(self, rows, pooled, step)

    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(DrawnAnchors, "choose", cut_off)
        unlearned(execution=Execution(state))
    assert state.load()[0] == 2
    assert torch.equal(weights_of(unlearned(execution=Execution(TrainingState(tmp_path, SPEC, 1)))), straight)


def test_cross_attention_alone_moves():
    full, student = text_denoiser(), unlearned(SHORT.model_copy(update={"trainable": "cross_attention"}))
    pairs = zip(student.unet.named_parameters(), full.unet.parameters(), strict=True)
    moved = {name for (name, weight), before in pairs if not torch.equal(weight, before)}
    assert moved
    assert all(".attn2." in name for name in moved)


def gradient(folder, micro_batch_size=0, checkpointing=False):
    """The gradient of the first step, which Adam's first moment is a tenth of."""
    full, state = text_denoiser(), TrainingState(folder, SPEC, 1)
    if checkpointing:
        full.unet.enable_gradient_checkpointing()
    settings = SHORT.model_copy(update={"steps": 1, "max_grad_norm": 1e6})
    unlearn(full, LATENTS, FORGET, captions(), book(), settings, Execution(state, micro_batch_size))
    tensors = state.load()[1]
    return 10 * torch.cat([tensors[name].flatten() for name in sorted(tensors) if name.startswith("exp_avg.")])


def test_micro_batches_and_checkpointing_give_the_gradient_of_the_whole(tmp_path):
    whole = gradient(tmp_path / "whole")
    assert whole.norm() > 1e-3
    for size in (1, 3):
        torch.testing.assert_close(gradient(tmp_path / str(size), size), whole, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradient(tmp_path / "checkpointed", None, True), whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("preserve", "teachers"), [("distillation", 8), ("denoising", 4)])
def test_evaluations_by_hand(preserve, teachers):
    # A step trains on 4 + 4 latents, each counting three; the full model is asked about both, or about the forget ones.
    settings = SHORT.model_copy(update={"preserve": preserve})
    _, evaluations = unlearn(text_denoiser(), LATENTS, FORGET, captions(), book(), settings)
    assert evaluations == 3 * (8 * 3 + teachers)


def test_dropped_captions_are_refused():
    with pytest.raises(ValueError, match=r"captions are dropped with probability 0.1"):
        unlearned(told=captions(dropout=0.1))

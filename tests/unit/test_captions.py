"""The prompts that training images are told with, and fine-tuning on them."""

import dataclasses

import pytest
import torch
from text_inputs import IDS, LATENTS, captions, prompts, text_denoiser, weights_of

from guda import config
from guda.core.artifacts import pack_ids, save_tensors
from guda.core.errors import ConfigError
from guda.data.captions import NO_PROMPT, TENSORS
from guda.data.training_set import read_training_set
from guda.models.denoisers.text_unet import select_trainable
from guda.specs import ImagesSpec
from guda.training.loop import batch_rows, fine_tune
from guda.training.state import Execution, TrainingState

SPEC = ImagesSpec(dataset="d", content="c")  # any will do
SHORT = config.Training(steps=4, batch_size=4, learning_rate=2e-3, warmup_steps=1, seed=3, ema_decay=0.5)
N = 4000
FOUR_ERRORS = 4 / (2 * N**0.5)  # of a share of N draws


def chosen(of, row):
    """Prompts of one image at N steps."""
    return torch.cat([of.choose(torch.tensor([row]), step) for step in range(N)])


def share(found, number):
    return (found == number).double().mean().item()


def test_an_image_has_each_of_its_prompts_equally_often_and_no_other():
    found = chosen(captions(), 0)
    for number in range(3):
        assert share(found, number) == pytest.approx(1 / 3, abs=FOUR_ERRORS)
    assert set(chosen(captions(), 1).tolist()) == {1}
    assert set(chosen(captions(), 5).tolist()) == {0, 4}


def test_dropout_empties_its_share_of_the_prompts_and_leaves_the_others():
    told, dropped = chosen(captions(), 0), chosen(captions(dropout=0.3), 0)
    assert share(dropped, NO_PROMPT) == pytest.approx(0.3, abs=FOUR_ERRORS)
    assert torch.equal(told[dropped != NO_PROMPT], dropped[dropped != NO_PROMPT])


def test_a_choice_depends_on_seed_step_and_image_alone():
    of, rows = captions(dropout=0.2), torch.arange(8)
    together = torch.stack([of.choose(rows, step) for step in range(50)])
    backwards = torch.stack([of.choose(rows.flip(0), step) for step in range(50)]).flip(1)
    assert torch.equal(together, backwards)
    assert not torch.equal(chosen(captions(seed=1), 0), chosen(captions(seed=2), 0))


def test_embeddings_are_those_of_the_numbers():
    of = captions()
    found = of.embedded(torch.tensor([3, NO_PROMPT, 0]))
    assert torch.equal(found, torch.stack([of.embeddings[3], of.empty, of.embeddings[0]]))
    assert torch.equal(of.draw(torch.tensor([1, 4]), 7), of.embeddings[[1, 4]])
    assert torch.equal(of.first(torch.tensor([0, 2, 5])), of.embeddings[[0, 2, 0]])


def test_a_file_is_read_back_and_must_be_of_these_images(tmp_path):
    of, file = captions(seed=5, dropout=0.1), tmp_path / "encoded.safetensors"
    tensors = {name: getattr(of, name) for name in TENSORS}
    save_tensors(file, tensors | {"latents": LATENTS, "ids": pack_ids(IDS)}, SPEC)
    found = read_training_set(file, SPEC.digest())
    read = dataclasses.replace(found.captions, seed=5, dropout=0.1)
    assert torch.equal(found.images, LATENTS)
    assert torch.equal(read.draw(torch.arange(8), 3), of.draw(torch.arange(8), 3))
    with pytest.raises(ValueError, match=r"prompts of 8 images, expected those of 7"):
        dataclasses.replace(of, ids=IDS[1:])


# --- fine-tuning -------------------------------------------------------------------------------------


def finetuned(settings=SHORT, of=None, **options):
    return weights_of(fine_tune(text_denoiser(), LATENTS, of or captions(), settings, **options)[0])


def test_fine_tuning_repeats_bit_for_bit_and_begins_at_the_given_weights():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one = finetuned()
        torch.manual_seed(2)
        assert torch.equal(finetuned(), one)
    assert not torch.equal(one, finetuned(SHORT.changed({"seed": 4})))
    still = finetuned(SHORT.changed({"learning_rate": 1e-30, "weight_decay": 0.0}))
    torch.testing.assert_close(still, weights_of(text_denoiser()), rtol=0, atol=1e-6)


def test_it_sees_latents_and_prompts_of_the_rows_alone():
    rows = torch.tensor([6, 1, 3])
    seen, denoiser = [], text_denoiser()
    denoiser.training_loss = lambda x, noise, t, condition: (
        seen.append((x, condition)) or type(denoiser).training_loss(denoiser, x, noise, t, condition)
    )
    _, evaluations = fine_tune(denoiser, LATENTS, captions(dropout=0.5), SHORT, rows=rows)
    assert evaluations == 4 * 4 * 3
    for step, (x, condition) in enumerate(seen):
        expected = rows[batch_rows(step, 3, 4, "train", 3)]
        assert torch.equal(x, LATENTS[expected])
        assert torch.equal(condition, captions(dropout=0.5).draw(expected, step))


def test_the_prompts_matter():
    others = dataclasses.replace(captions(), embeddings=prompts(5, seed=30))
    assert not torch.equal(finetuned(), finetuned(of=others))


def test_cut_off_and_continued_gives_the_same_weights(tmp_path):
    straight, state = finetuned(), TrainingState(tmp_path, SPEC, 1)

    class Cut(BaseException):
        pass

    of = captions()
    draw = type(of).draw

    class CutOff(type(of)):
        def draw(self, rows, step):
            if step == 2:
                raise Cut
            return draw(self, rows, step)

    with pytest.raises(Cut):
        finetuned(of=CutOff(**vars(of)), execution=Execution(state))
    assert state.load()[0] == 2
    assert torch.equal(finetuned(execution=Execution(TrainingState(tmp_path, SPEC, 1))), straight)


def test_batches_are_worked_off_in_parts(tmp_path):
    sizes, moments = [], []
    for size in (None, 3):
        denoiser, state = text_denoiser(), TrainingState(tmp_path / str(size), SPEC, 1)
        denoiser.training_loss = lambda x, *drawn, of=denoiser: (
            sizes.append(len(x)) or type(of).training_loss(of, x, *drawn)
        )
        settings = SHORT.changed({"steps": 1, "warmup_steps": 0})
        fine_tune(denoiser, LATENTS, captions(), settings, Execution(state, size))
        tensors = state.load()[1]
        moments.append(torch.cat([tensors[name].flatten() for name in sorted(tensors) if name.startswith("exp_avg.")]))
    assert sizes == [4, 3, 1]
    assert moments[0].norm() > 1e-3
    torch.testing.assert_close(*moments, rtol=1e-4, atol=1e-7)


def test_frozen_weights_stay():
    denoiser = text_denoiser()
    before = {name: weight.clone() for name, weight in denoiser.unet.named_parameters()}
    select_trainable(denoiser, "cross_attention")
    fine_tune(denoiser, LATENTS, captions(), SHORT)
    moved = {name for name, weight in denoiser.unet.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == {name for name in before if ".attn2." in name}


def test_latents_are_not_mirrored():
    with pytest.raises(ConfigError, match=r"training.flip: latents cannot be flipped"):
        finetuned(SHORT.changed({"flip": True}))

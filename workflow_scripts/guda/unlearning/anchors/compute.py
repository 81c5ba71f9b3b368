"""Anchors: unlearning of a style by redirecting the prompts that name it, for text-to-image models (GUDA-C).

Without the style's images, a prompt that asks for it is one that the model was never trained on. It then answers as it
does to a prompt of the same content in another style, the anchor. arXiv 2601.22651.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import Tensor

from guda.core.artifacts import load_tensors
from guda.core.errors import DataError
from guda.core.records import FORWARD_AND_BACKWARD
from guda.core.seeding import derive_seed, uniform
from guda.data.captions import Captions
from guda.models.denoisers import Denoiser, UNetDenoiser
from guda.models.stable_diffusion.pipeline import Pipeline, encode_prompts
from guda.training.loop import optimise
from guda.training.state import Execution
from guda.unlearning.anchors.plan import Anchors, AnchorsSpec
from guda.unlearning.operator import Job
from guda.unlearning.prompted import PromptedDraws, student_of

NO_STYLE = -1  # of a prompt that names the content alone
TENSORS = ("embeddings", "styles", "contents", "prototypes", "image_styles", "image_contents")


@dataclass(frozen=True)
class AnchorBook:
    """Anchor prompts by content and style, and which of these an image has.

    Of the A prompts: `embeddings` float32 [A, L, D], `styles` int64 [A] (NO_STYLE: the content alone), `contents` int64
    [A]. Of the S styles: `prototypes` float32 [S, E], the mean of the pooled embeddings of a style's descriptors. Of
    the N training images: `image_styles` and `image_contents` int64 [N]. Styles and contents go by numbers from 0.
    """

    embeddings: Tensor
    styles: Tensor
    contents: Tensor
    prototypes: Tensor
    image_styles: Tensor
    image_contents: Tensor

    def retained_styles(self, forget: Tensor) -> Tensor:
        """Styles of whose images most are retained, bool [S]; `forget` bool [N].

        A group may hold a few images of other styles, and a style's own group may lack some (noisy labels).
        """
        styles = (self.image_styles, self.image_styles[forget])
        counts, forgotten = (torch.bincount(each[each != NO_STYLE], minlength=len(self.prototypes)) for each in styles)
        return forgotten < counts / 2

    def of_pair(self, content: int, style: int) -> Tensor:
        """Numbers of the prompts of a content in a style, int64 [n]; none where there is no such prompt."""
        return torch.nonzero((self.contents == content) & (self.styles == style)).flatten()

    def available(self, content: int) -> Tensor:
        """Styles in which there are prompts of a content, bool [S]."""
        found = self.styles[(self.contents == content) & (self.styles != NO_STYLE)]
        return torch.bincount(found, minlength=len(self.prototypes)) > 0


def read_anchors(path: str, spec_digest: str) -> AnchorBook:
    """An AnchorBook from a file with its tensors, by their names.

    Raises ArtifactError when the file is missing, damaged or not of the expected spec.
    """
    tensors, _ = load_tensors(path, spec_digest)
    return AnchorBook(**{name: tensors[name] for name in TENSORS})


def encode_book(
    pipeline: Pipeline, prompts: pd.DataFrame, contents: list[str | None], styles: list[str | None], batch_size: int
) -> dict[str, Tensor]:
    """The tensors of an AnchorBook.

    `prompts` has the columns content, style and prompt: anchor prompts; those of a content alone, whose style is None;
    and the descriptors of a style, whose content is. `contents` and `styles` are those of the training images.
    """
    embeddings, pooled = encode_prompts(pipeline, list(prompts["prompt"]), batch_size)
    described = prompts["content"].isna().to_numpy(copy=True)
    names = {column: sorted(prompts[column].dropna().unique()) for column in ("content", "style")}
    numbers = {column: {name: number for number, name in enumerate(names[column])} for column in names}

    def numbered(column: str, values: Iterable[str | None]) -> Tensor:
        return torch.tensor([numbers[column].get(value, NO_STYLE) for value in values])

    of_style = numbered("style", prompts.loc[described, "style"])
    return {
        "embeddings": embeddings[torch.from_numpy(~described)],
        "styles": numbered("style", prompts.loc[~described, "style"]),
        "contents": numbered("content", prompts.loc[~described, "content"]),
        "prototypes": style_prototypes(pooled[torch.from_numpy(described)], of_style),
        "image_styles": numbered("style", styles),
        "image_contents": numbered("content", contents),
    }


def anchor_weights(
    prompt: Tensor, prototypes: Tensor, retained: Tensor, sharpness: float, uniform_share: float
) -> Tensor:
    """Probability of each style to be that of a prompt's anchor, float64 [S].

    pi(s) = (1 - eta) softmax_s(beta cos(e_f, p_s)) + eta / n over the n styles that are `retained`, bool [S], and 0 for
    the others. e_f is the prompt's pooled embedding [E], p_s the `prototypes` [S, E]; beta is `sharpness`, eta
    `uniform_share`.
    """
    cosines = torch.nn.functional.cosine_similarity(prompt.double(), prototypes.double(), dim=1)
    exponents = torch.where(retained, sharpness * cosines, -torch.inf)
    return (1 - uniform_share) * exponents.softmax(0) + uniform_share * retained.double() / retained.sum()


def style_prototypes(pooled: Tensor, styles: Tensor) -> Tensor:
    """Mean of the pooled embeddings of each style's descriptors, of length 1: float32 [S, E].

    `pooled` float32 [n, E]; `styles` int64 [n] says whose descriptor each is, and leaves no number out.
    """
    sums = torch.zeros(int(styles.max()) + 1, pooled.shape[1], dtype=torch.float64)
    return torch.nn.functional.normalize(sums.index_add_(0, styles, pooled.double())).float()


def pick(weights: Tensor, point: float) -> int:
    """The style into whose share of [0, 1) a point falls, when shares of the sizes `weights` [S] lie side by side."""
    possible = torch.nonzero(weights).flatten()
    place = torch.searchsorted(weights[possible].cumsum(0), point, right=True)
    return int(possible[place.clamp_max(len(possible) - 1)])


@dataclass(frozen=True)
class DrawnAnchors:
    """The anchors of forget images: their prompts' numbers in the book, one at a time. `ids` name the images."""

    book: AnchorBook
    retained: Tensor
    ids: list[str]
    settings: Anchors

    def choose(self, rows: Tensor, prompts: Tensor, step: int) -> Tensor:
        """Anchors int64 [n] of the images `rows` at a step, whose own prompts have the pooled embeddings [n, E].

        Each depends on its image, its prompt and (seed, step, id) alone. Raises DataError for an image whose
        content has none.
        """
        return torch.tensor([self._of_image(*pair, step) for pair in zip(rows.tolist(), prompts, strict=True)])

    def _of_image(self, row: int, prompt: Tensor, step: int) -> int:
        content, name = int(self.book.image_contents[row]), (self.settings.seed, step, self.ids[row])
        style = NO_STYLE
        if self.settings.strategy != "removed":
            retained = self.retained & self.book.available(content)
            if not retained.any():
                raise DataError(f"{self.ids[row]}: no anchor prompt of its content is in a style that is retained")
            style = pick(self._weights(prompt, retained), uniform("anchor style", *name))
        prompts = self.book.of_pair(content, style)
        if not len(prompts):
            raise DataError(f"{self.ids[row]}: no anchor prompt names its content alone")
        return int(prompts[derive_seed("anchor prompt", *name) % len(prompts)])

    def _weights(self, prompt: Tensor, retained: Tensor) -> Tensor:
        uniform_share = 1.0 if self.settings.strategy == "uniform" else self.settings.uniform_share
        return anchor_weights(prompt, self.book.prototypes, retained, self.settings.sharpness, uniform_share)


def unlearn(
    full: UNetDenoiser,
    latents: Tensor,
    forget: Tensor,
    captions: Captions,
    book: AnchorBook,
    settings: Anchors,
    execution: Execution = Execution(),
) -> tuple[UNetDenoiser, int]:
    """A copy of the full model that has unlearned the forget images, and the evaluations spent; see `anchor_loss`.

    With `trainable` lora, the copy has adapters, and its other weights are the full model's.
    An image's own prompt is one of its captions, none of which are dropped. `latents` float32 [N, C, H, W]; `forget`
    bool [N].
    """
    if captions.dropout:
        raise ValueError(f"a share {captions.dropout} of the captions is dropped; an empty prompt has no anchor")
    adapters = (settings.lora_rank, settings.lora_alpha) if settings.trainable == "lora" else None
    student = student_of(full, settings.trainable, adapters, settings.seed)
    draws = PromptedDraws(latents, captions, settings, full.schedule)
    forget_rows, retained_rows = torch.nonzero(forget).flatten(), torch.nonzero(~forget).flatten()
    anchors = DrawnAnchors(book, book.retained_styles(forget), captions.ids, settings)

    def draw(step: int) -> list[Tensor]:
        """Latents, noise, steps and prompts of the forget images, then of the retained ones; and the anchors."""
        rows, prompts, forgotten = draws.of(forget_rows, "forget", step)
        _, _, retained = draws.of(retained_rows, "retain", step)
        chosen = anchors.choose(rows, captions.pooled[prompts], step)
        return [*forgotten, *retained, book.embeddings[chosen]]

    def loss(*drawn: Tensor) -> Tensor:
        x, noise, t, prompts = (torch.cat(pair) for pair in zip(drawn[:4], drawn[4:8], strict=True))
        told = torch.cat([drawn[8], prompts[len(drawn[8]) :]])
        return anchor_loss(student.told(prompts), full.told(told), x, noise, t, len(drawn[8]), settings)

    optimise(student, draw, loss, settings, settings.seed, execution)
    return student, settings.steps * anchor_evaluations(settings)


def anchor_loss(
    student: Denoiser, full: Denoiser, x: Tensor, noise: Tensor, t: Tensor, n: int, settings: Anchors
) -> Tensor:
    """||e_theta(x_t^f, c_f) - e_full(x_t^f, c_a)||^2 + lambda ||e_theta(x_t^r, c_r) - target||^2, means over pixels.

    Of x, noise [B, C, H, W] and t int64 [B] the first n are those of forget images, the others of retained ones. The
    student is bound to their prompts c, the full model to the anchors c_a of the first and to the prompts of the
    others. The target is e_full(x_t^r, c_r), or the noise. lambda is `retain_weight`.
    """
    x_t, target = full.add_noise(x, noise, t), noise.clone()
    asked = len(x) if settings.preserve == "distillation" else n
    with torch.no_grad():
        target[:asked] = full.of(range(asked)).predict_noise(x_t[:asked], t[:asked])
    error = (student.predict_noise(x_t, t) - target).square()
    return error[:n].mean() + settings.retain_weight * error[n:].mean()


def anchor_evaluations(settings: Anchors) -> int:
    """Evaluations of one step: forget and retained images, and the full model on the first, or on both."""
    teachers = 2 if settings.preserve == "distillation" else 1
    return settings.batch_size * (2 * FORWARD_AND_BACKWARD + teachers)


def run(job: Job[AnchorsSpec]) -> tuple[UNetDenoiser, int]:
    """See `Operator.run`."""
    captions = replace(job.training_set.told_captions(), seed=job.spec.settings.seed)
    book = read_anchors(job.files[0], job.spec.anchors)
    return unlearn(
        job.full,
        job.training_set.images,
        job.forget,
        captions,
        book,
        job.spec.settings,
        job.execution,
    )

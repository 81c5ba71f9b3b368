"""Unlearning of a style in text-to-image models by redirecting the prompts that name it to anchors (GUDA-C).

A model trained without the style's images has never seen prompts that name it. The redirected model responds to them as
to a prompt for the same content in another style, the anchor. arXiv 2601.22651.
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
from guda.training.loop import optimize
from guda.training.state import Execution
from guda.unlearning.anchors.plan import Anchors, AnchorsSpec
from guda.unlearning.operator import Job
from guda.unlearning.prompted import PromptedDraws, student_of

NO_STYLE = -1  # style of a prompt that names only the content
TENSORS = ("embeddings", "styles", "contents", "prototypes", "image_styles", "image_contents")


@dataclass(frozen=True)
class AnchorBook:
    """Anchor prompts by content and style, and the content and style of each training image.

    For the A prompts: `embeddings` float32 [A, L, D], `styles` int64 [A] (NO_STYLE: only the content), `contents` int64
    [A]. For the S styles: `prototypes` float32 [S, E], the mean pooled embedding of a style's descriptors. For the N
    training images: `image_styles` and `image_contents` int64 [N]. Styles and contents are numbered from 0.
    """

    embeddings: Tensor
    styles: Tensor
    contents: Tensor
    prototypes: Tensor
    image_styles: Tensor
    image_contents: Tensor

    def retained_styles(self, forget: Tensor) -> Tensor:
        """Styles most of whose images are retained, bool [S]; `forget` bool [N].

        A group may contain some images of other styles and miss some of its own style (noisy labels).
        """
        styles = (self.image_styles, self.image_styles[forget])
        counts, forgotten = (torch.bincount(each[each != NO_STYLE], minlength=len(self.prototypes)) for each in styles)
        return forgotten < counts / 2

    def of_pair(self, content: int, style: int) -> Tensor:
        """Indices of the prompts for a content in a style, int64 [n]; empty if there are none."""
        return torch.nonzero((self.contents == content) & (self.styles == style)).flatten()

    def available(self, content: int) -> Tensor:
        """Styles with prompts for a content, bool [S]."""
        found = self.styles[(self.contents == content) & (self.styles != NO_STYLE)]
        return torch.bincount(found, minlength=len(self.prototypes)) > 0


def read_anchors(path: str, spec_digest: str) -> AnchorBook:
    """Read an AnchorBook from the file of its tensors.

    Raises ArtifactError if the file is missing, damaged or has another spec.
    """
    tensors, _ = load_tensors(path, spec_digest)
    return AnchorBook(**{name: tensors[name] for name in TENSORS})


def encode_book(
    pipeline: Pipeline, prompts: pd.DataFrame, contents: list[str | None], styles: list[str | None], batch_size: int
) -> dict[str, Tensor]:
    """The tensors of an AnchorBook.

    `prompts` has the columns content, style and prompt. Its rows are anchor prompts, prompts for a content alone (style
    None), and style descriptors (content None). `contents` and `styles` are those of the training images.
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
    """Probability that a prompt's anchor has each style, float64 [S].

    pi(s) = (1 - eta) softmax_s(beta cos(e_f, p_s)) + eta / n over the n styles that are `retained`, bool [S], and 0 for
    the others. e_f is the prompt's pooled embedding [E], p_s the `prototypes` [S, E]; beta is `sharpness`, eta
    `uniform_share`.
    """
    cosines = torch.nn.functional.cosine_similarity(prompt.double(), prototypes.double(), dim=1)
    exponents = torch.where(retained, sharpness * cosines, -torch.inf)
    return (1 - uniform_share) * exponents.softmax(0) + uniform_share * retained.double() / retained.sum()


def style_prototypes(pooled: Tensor, styles: Tensor) -> Tensor:
    """Mean pooled embedding of each style's descriptors, normalized to length 1: float32 [S, E].

    `pooled` float32 [n, E]; `styles` int64 [n] is each descriptor's style; every style must occur.
    """
    sums = torch.zeros(int(styles.max()) + 1, pooled.shape[1], dtype=torch.float64)
    return torch.nn.functional.normalize(sums.index_add_(0, styles, pooled.double())).float()


def pick(weights: Tensor, point: float) -> int:
    """Inverse-CDF sampling: the style whose interval of [0, 1), of length `weights` [S], contains the point."""
    possible = torch.nonzero(weights).flatten()
    place = torch.searchsorted(weights[possible].cumsum(0), point, right=True)
    return int(possible[place.clamp_max(len(possible) - 1)])


@dataclass(frozen=True)
class DrawnAnchors:
    """Draws the anchors of forget images, as indices of prompts in the book. `ids` are the images' ids."""

    book: AnchorBook
    retained: Tensor
    ids: list[str]
    settings: Anchors

    def choose(self, rows: Tensor, prompts: Tensor, step: int) -> Tensor:
        """Anchors int64 [n] of the images `rows` at a step; `prompts` are their own prompts' pooled embeddings [n, E].

        Each depends only on its image, its prompt and (seed, step, id). Raises DataError for an image whose content
        has no anchor.
        """
        return torch.tensor([self._of_image(*pair, step) for pair in zip(rows.tolist(), prompts, strict=True)])

    def _of_image(self, row: int, prompt: Tensor, step: int) -> int:
        content, name = int(self.book.image_contents[row]), (self.settings.seed, step, self.ids[row])
        style = NO_STYLE
        if self.settings.strategy != "removed":
            retained = self.retained & self.book.available(content)
            if not retained.any():
                raise DataError(f"{self.ids[row]}: no anchor prompt for its content has a retained style")
            style = pick(self._weights(prompt, retained), uniform("anchor style", *name))
        prompts = self.book.of_pair(content, style)
        if not len(prompts):
            raise DataError(f"{self.ids[row]}: no anchor prompt names only its content")
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
    """A copy of the base model with the forget images unlearned, and the evaluations spent; see `anchor_loss`.

    With `trainable` lora, the copy has adapters and otherwise the base model's weights. An image's own prompt is one of
    its captions, without dropout. `latents` float32 [N, C, H, W]; `forget` bool [N].
    """
    if captions.dropout:
        raise ValueError(f"captions are dropped with probability {captions.dropout}, but an empty prompt has no anchor")
    adapters = (settings.lora_rank, settings.lora_alpha) if settings.trainable == "lora" else None
    student = student_of(full, settings.trainable, adapters, settings.seed)
    draws = PromptedDraws(latents, captions, settings, full.schedule)
    forget_rows, retained_rows = torch.nonzero(forget).flatten(), torch.nonzero(~forget).flatten()
    anchors = DrawnAnchors(book, book.retained_styles(forget), captions.ids, settings)

    def draw(step: int) -> list[Tensor]:
        """Latents, noise, steps and prompts of the forget images, then of the retained images, and the anchors."""
        rows, prompts, forgotten = draws.of(forget_rows, "forget", step)
        _, _, retained = draws.of(retained_rows, "retain", step)
        chosen = anchors.choose(rows, captions.pooled[prompts], step)
        return [*forgotten, *retained, book.embeddings[chosen]]

    def loss(*drawn: Tensor) -> Tensor:
        x, noise, t, prompts = (torch.cat(pair) for pair in zip(drawn[:4], drawn[4:8], strict=True))
        anchored = torch.cat([drawn[8], prompts[len(drawn[8]) :]])
        return anchor_loss(
            student.conditioned_on(prompts), full.conditioned_on(anchored), x, noise, t, len(drawn[8]), settings
        )

    optimize(student, draw, loss, settings, settings.seed, execution)
    return student, settings.steps * anchor_evaluations(settings)


def anchor_loss(
    student: Denoiser, full: Denoiser, x: Tensor, noise: Tensor, t: Tensor, n: int, settings: Anchors
) -> Tensor:
    """||e_theta(x_t^f, c_f) - e_full(x_t^f, c_a)||^2 + lambda ||e_theta(x_t^r, c_r) - target||^2, averaged over pixels.

    The first n of x, noise [B, C, H, W] and t int64 [B] belong to forget images, the others to retained images. The
    student is conditioned on their prompts c; the base model (e_full) is conditioned on the anchors c_a of the forget
    images and on the prompts of the retained ones. The target is e_full(x_t^r, c_r) or the noise; lambda is
    `retain_weight`.
    """
    x_t, target = full.add_noise(x, noise, t), noise.clone()
    asked = len(x) if settings.preserve == "distillation" else n
    with torch.no_grad():
        target[:asked] = full.of(range(asked)).predict_noise(x_t[:asked], t[:asked])
    error = (student.predict_noise(x_t, t) - target).square()
    return error[:n].mean() + settings.retain_weight * error[n:].mean()


def anchor_evaluations(settings: Anchors) -> int:
    """Evaluations per step: forget and retained images, and the base model on the forget images or on both."""
    teachers = 2 if settings.preserve == "distillation" else 1
    return settings.batch_size * (2 * FORWARD_AND_BACKWARD + teachers)


def run(job: Job[AnchorsSpec]) -> tuple[UNetDenoiser, int]:
    """See `Operator.run`."""
    captions = replace(job.training_set.required_captions(), seed=job.spec.settings.seed)
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

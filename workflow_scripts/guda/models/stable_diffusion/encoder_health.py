"""Whether the parts of a text-to-image pipeline that turn images and prompts into numbers are fit for that."""

from __future__ import annotations

# Share of the pixels' variance that is lost: a grey image loses 1.
LOST = 0.5
# Share of the pooled embeddings' mean square by which prompts differ: 0 where all prompts look the same.
ALIKE = 1.0e-3
CURE = (
    "Take another pipeline; for one that is made here, lower {}.learning_rate in `text_to_image.small_pipeline`, or "
    "raise its steps."
)


def complaints(health: dict[str, float]) -> list[str]:
    """What is wrong with the encoders, a sentence each."""
    lost, differ, found = health.get("pixels_lost", 0.0), health.get("prompts_differ", 1.0), []
    if lost >= LOST:
        problem = f"autoencoder loses {lost:.3g} of what images differ by (a grey image loses 1)"
        found.append(f"the pipeline's {problem}. {CURE.format('autoencoder')}")
    if differ <= ALIKE:
        problem = f"text encoder hardly tells prompts apart (they differ by {differ:.3g} of their embeddings' size)"
        found.append(f"the pipeline's {problem}. {CURE.format('text_encoder')}")
    return found

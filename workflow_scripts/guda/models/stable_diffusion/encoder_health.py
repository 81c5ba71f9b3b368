"""Whether the autoencoder and the text encoder of a text-to-image pipeline are good enough."""

from __future__ import annotations

# Fraction of the pixels' variance that is lost: a uniform image loses 1.
LOST = 0.5
# Fraction of the pooled embeddings' mean square by which prompts differ: 0 if all prompts look the same.
ALIKE = 1.0e-3
CURE = (
    "Use another pipeline; for the small pipeline, lower {}.learning_rate in `text_to_image.small_pipeline`, or raise "
    "its steps."
)


def complaints(health: dict[str, float]) -> list[str]:
    """The encoders' problems, one sentence each."""
    lost, differ, found = health.get("pixels_lost", 0.0), health.get("prompts_differ", 1.0), []
    if lost >= LOST:
        problem = f"autoencoder loses {lost:.3g} of the images' variance (a uniform image loses 1)"
        found.append(f"the pipeline's {problem}. {CURE.format('autoencoder')}")
    if differ <= ALIKE:
        problem = f"text encoder hardly distinguishes prompts (they differ by {differ:.3g} of their embeddings' size)"
        found.append(f"the pipeline's {problem}. {CURE.format('text_encoder')}")
    return found

"""What records say of the encoders of a text-to-image pipeline, for the plan."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from guda.core.errors import ArtifactError
from guda.core.paths import TRAINING, record_of
from guda.core.records import read_record
from guda.models.stable_diffusion.encoder_health import complaints

if TYPE_CHECKING:
    from guda.plan.text_experiment import TextExperiment


def encoder_notes(experiment: TextExperiment) -> list[str]:
    """What the record of the encoded training images says, if it is there."""
    with contextlib.suppress(ArtifactError):
        record = read_record(
            record_of(experiment.on_disk.encoded(TRAINING)), experiment.encoded_spec(TRAINING).digest()
        )
        return complaints(record.get("health", {}))
    return []

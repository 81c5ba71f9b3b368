"""What the rules pass to every job besides its spec: the places of scripts, data and models, and execution settings."""

from __future__ import annotations

import json
import shlex
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from guda.core.paths import STORE

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


def exports(experiment: Experiment, scripts: str, cache: str) -> str:
    """Lines of a shell script that export all of this to a job's environment.

    In the environment, since a path among a rule's parameters would make every job stale when a folder moves; in a
    file, since several experiments may be modules of one workflow.
    """
    settings = experiment.config
    known_by_config = settings.text_to_image is not None or experiment.query_source == "exemplars"
    store = PurePosixPath(cache) / STORE if cache else experiment.on_disk.store()
    execution = settings.execution.model_dump(exclude={"threads", "gpus"}) | {"cache": cache, "store": str(store)}
    environment = {
        "GUDA_SCRIPTS": scripts,
        "GUDA_EXECUTION": json.dumps(execution),
        "GUDA_DATA": settings.data.model_dump_json(),
        "GUDA_QUERIES": settings.queries.model_dump_json(),
        "GUDA_IMPORTS": json.dumps(experiment.imports),
        "GUDA_VISION_MODEL": settings.attribution.embedding.model or "",
        "GUDA_CONFIG": settings.model_dump_json(by_alias=True) if known_by_config else "",
        "GUDA_PIPELINE": experiment.family.pipeline_folder,
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())

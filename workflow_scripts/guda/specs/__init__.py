"""What each job's result depends on, as one canonical JSON text per job.

A spec names its inputs by the digests of *their* specs, so that any change upstream changes every spec downstream.
Snakemake compares specs to plan; artifacts store their own; readers compare it with the one they expect. A stage
whose numbers change for the same spec raises its `version`.
"""

from guda.core.spec import (
    Spec,
    digest,
    digest_lines,
    parse_any,
)
from guda.specs.data import (
    CalibrationSpec,
    ExclusionSpec,
    GroupSizesSpec,
    GroupSpec,
    ImagesSpec,
    NeighborsSpec,
    QueriesSpec,
    QueryFilesSpec,
    TableSpec,
)
from guda.specs.evaluation import (
    FigureSpec,
    LatentRemovalSpec,
    LdsSpec,
    LikelihoodTableSpec,
    MetricsSpec,
    QueryTableSpec,
    RankingsSpec,
    RemovalFigureSpec,
    RemovalSetsSpec,
    RemovalSpec,
    SignificanceSpec,
    SourcesSpec,
    SweepFigureSpec,
    SweepSpec,
)
from guda.specs.models import (
    ClassifierSpec,
    ConditionalSpec,
    ImportedModelSpec,
    ModelSpec,
    TrainSpec,
)
from guda.specs.scoring import (
    ConditionalElboSpec,
    ElboSettings,
    ElboSpec,
    LikelihoodSettings,
    LikelihoodSpec,
    PosteriorsSpec,
)
from guda.specs.text_to_image import (
    EncodedAnchorsSpec,
    EncodedSpec,
    FineTuneSpec,
    ImportedUNetSpec,
    PipelineSpec,
    PromptedQueriesSpec,
    PromptsSpec,
)

__all__ = [
    "CalibrationSpec",
    "ClassifierSpec",
    "ConditionalElboSpec",
    "ConditionalSpec",
    "ElboSettings",
    "ElboSpec",
    "EncodedAnchorsSpec",
    "EncodedSpec",
    "ExclusionSpec",
    "FigureSpec",
    "FineTuneSpec",
    "GroupSizesSpec",
    "GroupSpec",
    "ImagesSpec",
    "ImportedModelSpec",
    "ImportedUNetSpec",
    "LatentRemovalSpec",
    "LdsSpec",
    "LikelihoodSettings",
    "LikelihoodSpec",
    "LikelihoodTableSpec",
    "MetricsSpec",
    "ModelSpec",
    "NeighborsSpec",
    "PipelineSpec",
    "PosteriorsSpec",
    "PromptedQueriesSpec",
    "PromptsSpec",
    "QueriesSpec",
    "QueryFilesSpec",
    "QueryTableSpec",
    "RankingsSpec",
    "RemovalFigureSpec",
    "RemovalSetsSpec",
    "RemovalSpec",
    "SignificanceSpec",
    "SourcesSpec",
    "Spec",
    "SweepFigureSpec",
    "SweepSpec",
    "TableSpec",
    "TrainSpec",
    "digest",
    "digest_lines",
    "parse_any",
]

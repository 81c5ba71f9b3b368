"""The only builder of paths under the results folder. See docs/files.md for what each file holds."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path, PurePosixPath

SNAKEMAKE = Path(".snakemake")
MEMORY = SNAKEMAKE / "guda"  # kept between runs; may be deleted

BASE = "base"
BASES = rf"{BASE}(-\d+)?"  # pattern of its name and of the oracle seeds' own base models
PROXY = "proxy"
BASE_PROXY = f"{PROXY}/{BASE}"  # the proxy trained on everything; no group's file is called base
CALIBRATION = "calibration"
BUCKET = "bucket-"  # start of its name, after that of its query set
SETS = "sets"
STORE = "store"  # of values of individual samples, in the results or beside shared models
TRAINING = "training"  # the training set, among sets of images with features
IMPORTED = "imported"
CONDITIONAL = "conditional"
CLASSIFIER = "classifier"
EXEMPLARS = "exemplars"
ANCHORS = "anchors"  # among sets of prompts, those that forgotten prompts are redirected to
CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
MODEL_FILES = (CONFIG, WEIGHTS)
ADAPTER = "pytorch_lora_weights.safetensors"  # in place of both, for the base model with adapters
# Files of a pipeline made by the workflow.
PIPELINE_FILES = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    f"text_encoder/{CONFIG}",
    "text_encoder/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    f"unet/{CONFIG}",
    f"unet/{WEIGHTS}",
    f"vae/{CONFIG}",
    f"vae/{WEIGHTS}",
)
RECORD = "record.json"
STATE = "training_state.safetensors"  # of an unfinished training; not an output of any rule

WILDCARDS = ("{group}", "{nearest}{group}")  # stand for a group in rules
RESERVED = {"base", "calibration", "ceiling", "logo"}
MAX_LENGTH = 100  # bytes of a group's file name; file systems allow 255, and suffixes are added
SHOWN_LENGTH = 60  # bytes of a group's name kept in its file name, if the full name cannot be used
_FILE_NAME = re.compile(r"\w[\w .,+()-]*(?<![ .])")
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # reserved on Windows, with any suffix


def group_file(group: str) -> str:
    """The name of a group's files and folders: the group's own, if that is a valid file name on every system.

    Otherwise the name without invalid characters, followed by the beginning of its sha256: a function of the name
    alone. File names and Snakemake's wildcards are returned unchanged.
    """
    folded = group.casefold()
    fits = _FILE_NAME.fullmatch(group) and len(group.encode()) <= MAX_LENGTH and not _DEVICE.fullmatch(group)
    composed = unicodedata.is_normalized("NFC", group)  # macOS identifies all Unicode forms of a name
    if group in WILDCARDS or (fits and composed and folded not in RESERVED and not folded.startswith("logo-")):
        return group
    kept = unicodedata.normalize("NFC", re.sub(r"[^\w.,+()-]+", "_", group))
    shown = kept.encode()[:SHOWN_LENGTH].decode(errors="ignore")
    return _hashed(group, re.sub("^(logo(-|$))+", "", shown.strip("_.-+,()"), flags=re.IGNORECASE))


def query_file(query: str) -> str:
    """The same for a query's image, whose id may be a path: Snakemake would interpret <name> and {name}."""
    parts = PurePosixPath(query).parts
    return "/".join(_hashed(part, re.sub(r"[<>{}]", "_", part)) if set("<>{}") & set(part) else part for part in parts)


def _hashed(name: str, shown: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{shown}-{digest}" if shown else digest


def logo_model(seed: int | str, group: str) -> str:
    """Name of the model retrained without `group` with `seed`."""
    return f"logo-{seed}/{group_file(group)}"


def own_base(seed: int | str) -> str:
    """Name of the model trained on everything with an oracle's seed, which that oracle is compared with."""
    return f"{BASE}-{seed}"


def proxy_model(group: str) -> str:
    """Name of the proxy trained without `group`."""
    return f"{PROXY}/{group_file(group)}"


def is_proxy(model: str) -> bool:
    """Whether this is the name of a proxy model."""
    return model.startswith(f"{PROXY}/")


def conditioned_model(group: str) -> str:
    """Name, used only under elbo/, of the conditional model conditioned on `group`."""
    return f"{CONDITIONAL}/{group_file(group)}"


def conditioned_samples(bucket: str) -> str:
    """Name, under prompts/ and encoded/, of a bucket's images with a prompt for each group."""
    return f"{CONDITIONAL}/{bucket}"


def unlearned_model(method: str, group: str) -> str:
    """Name of the model from which `method` has unlearned `group`."""
    return f"{method}/{group_file(group)}"


def tuned_model(query_set: str, group: str) -> str:
    """Name of the model fine-tuned on exemplars of `group`, which generates images of this query set."""
    return f"{EXEMPLARS}-{query_set}/{group_file(group)}" if query_set else f"{EXEMPLARS}/{group_file(group)}"


def subset_model(seed: int | str, index: int | str) -> str:
    """Name of the model trained on the random subset of groups with this index, drawn with `seed`."""
    return f"subset-{seed}/{index}"


def removed_model(seed: int | str, members: str) -> str:
    """Name of the model retrained with `seed` without a set of images, identified by the digest of their ids."""
    return f"removed-{seed}/{members}"


def record_of(path: str | Path) -> str:
    """The record beside a file: what it was made for and what it cost."""
    return str(Path(path).with_suffix(".record.json"))


class Paths:
    """Paths of one experiment. Arguments may be Snakemake wildcards, such as '{group}'.

    Results for a named query set are in their own folder; its buckets have its name in theirs.
    """

    def __init__(self, results: str | Path, query_set: str = "", schedule: str = ""):
        self.results = Path(results)
        self.answers = self.results / SETS / query_set if query_set else self.results
        self._query_set, self._schedule = query_set, schedule

    def with_schedule(self, schedule: str) -> Paths:
        """The same paths, with ELBO terms at another schedule of diffusion steps."""
        return Paths(self.results, self._query_set, schedule)

    def _at(self, *parts: str) -> str:
        return str(self.results.joinpath(*parts))

    def _of_set(self, *parts: str) -> str:
        return str(self.answers.joinpath(*parts))

    def store(self) -> str:
        """Folder of values computed for individual samples, by content; nothing in it is declared to Snakemake."""
        return self._at(STORE)

    def images(self) -> str:
        return self._at("data", "images.safetensors")

    def table(self) -> str:
        return self._at("data", "table.csv")

    def group_sizes(self) -> str:
        return self._at("data", "groups.csv")

    def group(self, group: str) -> str:
        return self._at("groups", f"{group_file(group)}.json")

    def exclusion(self, model: str) -> str:
        return self._at("exclusions", f"{model}.json")

    def pipeline(self) -> str:
        """Folder of the small pipeline."""
        return self._at("pipeline")

    def pipeline_files(self) -> list[str]:
        return [self._at("pipeline", file) for file in PIPELINE_FILES]

    def pipeline_weights(self) -> str:
        """The file of the small pipeline that holds its spec."""
        return self._at("pipeline", "unet", WEIGHTS)

    def pipeline_record(self) -> str:
        return self._at("pipeline", RECORD)

    def prompts(self, samples: str) -> str:
        """Prompts of the training images, the calibration sample, a bucket of queries, or the anchors."""
        return self._at("prompts", f"{samples}.csv")

    def encoded(self, samples: str) -> str:
        return self._at("encoded", f"{samples}.safetensors")

    def neighbors(self, group: str) -> str:
        return self._at("neighbors", f"{group}.safetensors")

    def model_config(self, model: str) -> str:
        return self._at("models", model, CONFIG)

    def model_weights(self, model: str) -> str:
        return self._at("models", model, WEIGHTS)

    def model_adapter(self, model: str) -> str:
        return self._at("models", model, ADAPTER)

    def model_record(self, model: str) -> str:
        return self._at("models", model, RECORD)

    def queries(self, bucket: str) -> str:
        return self._at("queries", f"{bucket}.safetensors")

    def query_table(self) -> str:
        return self._of_set("queries", "queries.csv")

    def query_image(self, query: str) -> str:
        """A PNG: "ann/1.png" for the query "ann/1.png", "ann/1.jpg.png" for "ann/1.jpg".

        A name that another query may lead to, such as "1.jpg.png", gets the suffix as well.
        """
        file = PurePosixPath(query_file(query))
        named = file.suffix == ".png" and "." not in file.stem
        return self._of_set("queries", "images", str(file) if named else f"{file}.png")

    def elbo(self, model: str, bucket: str) -> str:
        return self._at(f"elbo{self._schedule}", model, f"{bucket}.safetensors")

    def elbo_record(self, model: str, bucket: str) -> str:
        return record_of(self.elbo(model, bucket))

    def posteriors(self, bucket: str) -> str:
        return self._at("posteriors", f"{bucket}.safetensors")

    def posteriors_record(self, bucket: str) -> str:
        return record_of(self.posteriors(bucket))

    def mixture(self, bucket: str) -> str:
        return self._at("mixture", f"{bucket}.safetensors")

    def mixture_record(self, bucket: str) -> str:
        return record_of(self.mixture(bucket))

    def likelihood(self, model: str) -> str:
        return self._of_set("likelihood", f"{model}.safetensors")

    def likelihood_table(self) -> str:
        return self._of_set("likelihood.csv")

    def neighbors_record(self, group: str) -> str:
        return record_of(self.neighbors(group))

    def features(self, kind: str, images: str) -> str:
        return self._at("features", kind, f"{images}.safetensors")

    def features_record(self, kind: str, images: str) -> str:
        return record_of(self.features(kind, images))

    def regenerated(self, model: str, bucket: str) -> str:
        return self._at("regenerated", model, f"{bucket}.safetensors")

    def kernel(self, bucket: str) -> str:
        return self._at("kernel", f"{bucket}.safetensors")

    def kernel_record(self, bucket: str) -> str:
        return record_of(self.kernel(bucket))

    def fisher(self) -> str:
        return self._at("fisher", "base.safetensors")

    def fisher_record(self) -> str:
        return record_of(self.fisher())

    def influence(self, method: str, bucket: str) -> str:
        return self._at("influence", method, f"{bucket}.safetensors")

    def influence_record(self, method: str, bucket: str) -> str:
        return record_of(self.influence(method, bucket))

    def scores(self, method: str) -> str:
        return self._of_set("scores", f"{method}.csv")

    def scores_record(self, method: str) -> str:
        return record_of(self.scores(method))

    def rankings(self) -> str:
        return self._of_set("rankings.csv")

    def metrics(self) -> str:
        return self._of_set("metrics.csv")

    def cost_figure(self) -> str:
        return self._of_set("figures", "cost.png")

    def metrics_by_source(self) -> str:
        return self._of_set("metrics_by_source.csv")

    def significance(self) -> str:
        return self._of_set("significance.csv")

    def screen(self) -> str:
        return self._of_set("screen.csv")

    def reliability(self) -> str:
        return self._of_set("reliability.csv")

    def exemplars(self) -> str:
        return self._of_set("exemplars.csv")

    def quality(self) -> str:
        return self._of_set("quality.csv")

    def curves(self) -> str:
        return self._at("curves.csv")

    def curves_figure(self) -> str:
        return self._at("figures", "curves.png")

    def samples_figure(self) -> str:
        return self._of_set("figures", "samples.png")

    def lds(self) -> str:
        return self._of_set("lds.csv")

    def removal_sets(self) -> str:
        return self._of_set("removal", "sets.csv")

    def removal_members(self) -> str:
        return self._of_set("removal", "members.json")

    def removal(self) -> str:
        return self._of_set("removal.csv")

    def removal_figure(self) -> str:
        return self._of_set("figures", "removal.png")

    def sweep(self) -> str:
        return self._of_set("sweep.csv")

    def sweep_figure(self) -> str:
        return self._of_set("figures", "sweep.png")

    def figure(self) -> str:
        return self._of_set("figures", "queries.png")

    def estimate(self) -> str:
        return self._of_set("estimate.csv")

    def maps(self) -> str:
        return self._of_set("report", "maps.safetensors")

    def redrawn(self) -> str:
        return self._of_set("report", "redrawn.safetensors")

    def page(self) -> str:
        return self._of_set("report.html")

    def log(self, *parts: str) -> str:
        return self._at("logs", *parts) + ".log"

    def spec_file(self, *parts: str) -> str:
        """A job's spec beside its log, for specs that may be too long for a command line."""
        return self._at("logs", *parts) + ".spec.json"

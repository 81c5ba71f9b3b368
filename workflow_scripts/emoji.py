"""Build folders of emoji by four studios from installed npm packages, for presets/emoji.yaml.

    npm install emoji-datasource-google emoji-datasource-twitter emoji-datasource-facebook openmoji
    pip install resvg_py
    python workflow_scripts/emoji.py node_modules data/emoji

All studios draw the same contents; an emoji that any of them lacks is left out. FOLDER/training holds most emoji,
FOLDER/unseen a few contents that are held out from all studios as queries. The images keep their own licenses: google
Apache 2.0, twitter CC BY 4.0, openmoji CC BY-SA 4.0; facebook's package states none, so do not redistribute these.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NamedTuple
from xml.etree import ElementTree

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from guda.core.errors import DataError
from guda.core.seeding import chosen
from guda.data.datasets.json_files import read_json
from guda.jobs.cli import run

STUDIOS = ("google", "twitter", "facebook")  # raster images in emoji-datasource-STUDIO; openmoji has SVG drawings
TONES = {"1F3FB": "light", "1F3FC": "medium light", "1F3FD": "medium", "1F3FE": "medium dark", "1F3FF": "dark"}
SIDE = 64  # pixels, of all images
# The elements of openmoji's drawings. Other elements may refer to files elsewhere, and the library that draws them
# crashes on unbounded nesting.
SHAPES = {"svg", "g", "path", "circle", "ellipse", "line", "rect", "polygon", "polyline", "defs", "clipPath"}
DEPTH = 50


class Picture(BaseModel):
    """An image's entry in emoji.json. File names are derived from it, so the patterns keep them safe."""

    unified: str = Field(pattern=r"^[0-9A-F]+(-[0-9A-F]+)*$")
    image: str = Field(pattern=r"^[0-9a-f]+(-[0-9a-f]+)*\.png$")


class Listed(Picture):
    name: str
    category: str
    subcategory: str
    skin_variations: dict[Annotated[str, Field(pattern=r"^1F3F[B-F](-1F3F[B-F])*$")], Picture] = {}


class Emoji(NamedTuple):
    code: str
    name: str
    category: str
    subcategory: str
    tone: str  # skin tone as drawn; empty: none
    toned: bool  # whether it exists in several skin tones
    sources: dict[str, Path]  # image or drawing by studio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="the folder node_modules")
    parser.add_argument("folder", type=Path, help="the folder to create; it must not exist")
    parser.add_argument(
        "--unseen", type=int, default=64, help="number of contents to hold out, at least 1, without skin-tone variants"
    )
    args = parser.parse_args()
    if args.folder.exists():
        raise DataError(f"{args.folder} exists; name another folder, or remove it")
    if not find_spec("resvg_py"):
        raise DataError("resvg_py, which draws openmoji's SVG files, is not installed; run `pip install resvg_py`")
    complete = drawn_by_all(args.packages)
    candidates = [emoji.code for emoji in complete if not emoji.toned]
    if not 0 < args.unseen <= len(candidates) or args.unseen == len(complete):
        raise DataError(
            f"--unseen is {args.unseen}, but {len(candidates)} of {len(complete)} emoji can be held out, and some must "
            "be left for training; give another number"
        )
    unseen = {candidates[row] for row in chosen(candidates, args.unseen, "unseen emoji")}
    args.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder.parent) as unfinished:
        made = Path(unfinished) / "emoji"
        write([emoji for emoji in complete if emoji.code not in unseen], made / "training")
        write([emoji for emoji in complete if emoji.code in unseen], made / "unseen")
        made.rename(args.folder)
    trained = len(complete) - len(unseen)
    print(f"{args.folder}: {trained} emoji by each of {len(STUDIOS) + 1} studios to train on, {len(unseen)} unseen")


def drawn_by_all(packages: Path) -> list[Emoji]:
    """The emoji that every studio provides. Raises DataError if a package is missing or there are none."""
    drawings = {_plain(path.stem): path for path in _inside(packages, "openmoji", "color/svg").glob("*.svg")}
    folders = {studio: _inside(packages, f"emoji-datasource-{studio}", f"img/{studio}/64") for studio in STUDIOS}
    found = []
    for entry in _listed(_inside(packages, f"emoji-datasource-{STUDIOS[0]}", "emoji.json")):
        tones = entry.skin_variations
        for points, picture in [("", entry), *tones.items()]:
            sources = {studio: folder / picture.image for studio, folder in folders.items()}
            sources["openmoji"] = drawings.get(_plain(picture.unified), Path())
            if all(path.is_file() for path in sources.values()):
                tone = " and ".join(TONES[point] for point in points.split("-") if point)
                about = entry.name.lower(), entry.category, entry.subcategory, tone
                found.append(Emoji(picture.unified, *about, bool(tones), sources))
    if not found:
        raise DataError(f"{packages}: no emoji is provided by every studio; install the packages' current versions")
    return found


def write(emoji: list[Emoji], folder: Path) -> None:
    """Write STUDIO/CODE.png of each emoji, and metadata.csv."""
    rows = [["file_name", "studio", "name", "category", "subcategory", "tone"]]
    for code, name, category, subcategory, tone, _, sources in emoji:
        for studio, source in sources.items():
            file = f"{studio}/{code.lower()}.png"
            (folder / studio).mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(_png(source))
            rows.append([file, studio, name, category, subcategory, tone])
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows(rows)


def _listed(file: Path) -> list[Listed]:
    """The emoji that a package lists. Raises DataError for a damaged file or an unknown layout."""
    try:
        return TypeAdapter(list[Listed]).validate_python(read_json(str(file), "emoji"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise DataError(f"{file}: {where}: {first['msg']}; install the package's current version") from None


def _png(source: Path) -> bytes:
    if source.suffix == ".png":
        return source.read_bytes()
    import resvg_py

    _check_drawing(source)
    try:
        return bytes(resvg_py.svg_to_bytes(svg_path=str(source), width=SIDE, height=SIDE, skip_system_fonts=True))
    except ValueError as error:
        raise _broken(source, str(error)) from None


def _check_drawing(source: Path) -> None:
    """Raise DataError unless the file is an SVG with only elements of SHAPES, nested at most DEPTH deep."""
    depth = 0
    try:
        for event, element in ElementTree.iterparse(source, ("start", "end")):
            depth += 1 if event == "start" else -1
            name = element.tag.rpartition("}")[2]
            if name not in SHAPES or depth > DEPTH:
                raise _broken(source, f"an element {name!r}" if depth <= DEPTH else "elements nested too deeply")
    except ElementTree.ParseError as error:
        raise _broken(source, str(error)) from None


def _broken(source: Path, reason: str) -> DataError:
    return DataError(f"{source}: not a drawing in openmoji's format ({reason}); install the package again")


def _inside(packages: Path, package: str, name: str) -> Path:
    path = packages / package / name
    if not path.exists():
        raise DataError(f"{path} does not exist; run `npm install {package}` in {packages.absolute().parent}")
    return path


def _plain(code: str) -> str:
    """An emoji's code points without the variation selector, which some packages include and others omit."""
    return "-".join(point for point in code.upper().split("-") if point != "FE0F")


if __name__ == "__main__":
    run(main)

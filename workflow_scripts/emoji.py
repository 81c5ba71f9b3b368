"""Make folders of emoji by four studios from npm packages that you have installed, for presets/emoji.yaml.

    npm install emoji-datasource-google emoji-datasource-twitter emoji-datasource-facebook openmoji
    pip install resvg_py
    python workflow_scripts/emoji.py node_modules data/emoji

All studios draw the same contents: an emoji that one of them lacks is left out. FOLDER/training holds most of them,
FOLDER/unseen a few whole contents to ask about. The pictures keep their own licences: google Apache 2.0, twitter
CC BY 4.0, openmoji CC BY-SA 4.0; facebook's package states none, so do not pass these on.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from guda.core.errors import DataError
from guda.core.seeding import chosen
from guda.jobs.cli import run

STUDIOS = ("google", "twitter", "facebook")  # with pictures in emoji-datasource-STUDIO; openmoji has drawings
TONES = {"1F3FB": "light", "1F3FC": "medium light", "1F3FD": "medium", "1F3FE": "medium dark", "1F3FF": "dark"}
SIDE = 64  # pixels, of all pictures


class Emoji(NamedTuple):
    code: str
    name: str
    category: str
    subcategory: str
    tone: str  # of skin, as it is drawn; empty: none
    toned: bool  # whether there are pictures of it in several tones
    sources: dict[str, Path]  # a picture or drawing by studio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="the folder node_modules")
    parser.add_argument("folder", type=Path, help="the folder to make, which must not exist")
    parser.add_argument(
        "--unseen", type=int, default=64, help="contents kept out of training, none in several skin tones"
    )
    args = parser.parse_args()
    if args.folder.exists():
        raise DataError(f"{args.folder} exists; name another folder, or remove it")
    if not find_spec("resvg_py"):
        raise DataError("resvg_py, which draws openmoji's SVG files, is not installed; run `pip install resvg_py`")
    complete = drawn_by_all(args.packages)
    candidates = [emoji.code for emoji in complete if not emoji.toned]
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
    """The emoji that are there by every studio. Raises DataError for a package that is missing or has none of them."""
    drawings = {_plain(path.stem): path for path in _inside(packages, "openmoji", "color/svg").glob("*.svg")}
    folders = {studio: _inside(packages, f"emoji-datasource-{studio}", f"img/{studio}/64") for studio in STUDIOS}
    listed = json.loads(_inside(packages, f"emoji-datasource-{STUDIOS[0]}", "emoji.json").read_text(encoding="utf-8"))
    found = []
    for entry in listed:
        tones = entry.get("skin_variations", {})
        for points, variation in [("", entry), *tones.items()]:
            sources = {studio: folder / variation["image"] for studio, folder in folders.items()}
            sources["openmoji"] = drawings.get(_plain(variation["unified"]), Path())
            if all(path.is_file() for path in sources.values()):
                tone = " and ".join(TONES[point] for point in points.split("-") if point)
                about = entry["name"].lower(), entry["category"], entry["subcategory"], tone
                found.append(Emoji(variation["unified"], *about, bool(tones), sources))
    if not found:
        raise DataError(f"{packages}: no emoji is there by every studio; install the packages' current versions")
    return found


def write(emoji: list[Emoji], folder: Path) -> None:
    """Write STUDIO/CODE.png of each, and metadata.csv."""
    rows = [["file_name", "studio", "name", "category", "subcategory", "tone"]]
    for code, name, category, subcategory, tone, _, sources in emoji:
        for studio, source in sources.items():
            file = f"{studio}/{code.lower()}.png"
            (folder / studio).mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(_png(source))
            rows.append([file, studio, name, category, subcategory, tone])
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows(rows)


def _png(source: Path) -> bytes:
    if source.suffix == ".png":
        return source.read_bytes()
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_path=str(source), width=SIDE, height=SIDE, skip_system_fonts=True))


def _inside(packages: Path, package: str, name: str) -> Path:
    path = packages / package / name
    if not path.exists():
        raise DataError(f"{path} is not there; run `npm install {package}` in {packages.absolute().parent}")
    return path


def _plain(code: str) -> str:
    """An emoji's code points without the variation selector, which some packages write and others leave out."""
    return "-".join(point for point in code.upper().split("-") if point != "FE0F")


if __name__ == "__main__":
    run(main)

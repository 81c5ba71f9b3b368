"""The program that makes the folders of emoji, on packages of a few made-up emoji."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

import emoji
from guda.core.errors import DataError

STUDIOS = ("google", "twitter", "facebook")
COLORS = dict(zip(STUDIOS, ("red", "green", "blue"), strict=True))
DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72"><rect width="72" height="36" fill="#ff0"/></svg>'


def entry(code: str, name: str, **more: object) -> dict[str, object]:
    about = {"unified": code, "image": f"{code.lower()}.png", "name": name}
    return about | {"category": "Objects", "subcategory": "tool", **more}


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """As npm lays them out: an umbrella, a star that twitter lacks, a hand in two tones, of which openmoji has one."""
    folder = tmp_path / "node_modules"
    tones = {"1F3FB": entry("270B-1F3FB", "-"), "1F3FF-1F3FB": entry("270B-1F3FF-1F3FB", "-")}
    listed = [entry("2602-FE0F", "UMBRELLA"), entry("2B50", "STAR"), entry("270B", "HAND", skin_variations=tones)]
    images = ["2602-fe0f", "2b50", "270b", "270b-1f3fb", "270b-1f3ff-1f3fb"]
    for studio in STUDIOS:
        pictures = folder / f"emoji-datasource-{studio}/img/{studio}/64"
        pictures.mkdir(parents=True)
        (pictures.parents[2] / "emoji.json").write_text(json.dumps(listed))
        for name in images:
            if (studio, name) != ("twitter", "2b50"):
                Image.new("RGB", (64, 64), COLORS[studio]).save(pictures / f"{name}.png")
    drawings = folder / "openmoji/color/svg"
    drawings.mkdir(parents=True)
    for name in ("2602", "2B50", "270B", "270B-1F3FF-1F3FB"):
        (drawings / f"{name}.svg").write_text(DRAWING)
    return folder


def test_what_all_studios_have_is_taken_under_either_way_to_write_its_code(packages: Path) -> None:
    found = {each.code: (each.name, each.tone, each.toned) for each in emoji.drawn_by_all(packages)}
    assert found == {
        "2602-FE0F": ("umbrella", "", False),
        "270B": ("hand", "", True),
        "270B-1F3FF-1F3FB": ("hand", "dark and light", True),
    }


def test_folders_hold_a_picture_by_every_studio_and_a_table(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "made" / "emoji"
    monkeypatch.setattr("sys.argv", ["emoji.py", str(packages), str(folder), "--unseen", "1"])
    emoji.main()
    with (folder / "training/metadata.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert [row["file_name"] for row in rows[:4]] == [f"{s}/270b.png" for s in (*STUDIOS, "openmoji")]
    assert {(row["name"], row["tone"]) for row in rows} == {("hand", ""), ("hand", "dark and light")}
    seen = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    assert seen == {f"training/{row['file_name']}" for row in rows} | {
        f"unseen/{studio}/2602-fe0f.png" for studio in (*STUDIOS, "openmoji")
    }
    drawn = Image.open(io.BytesIO((folder / "unseen/openmoji/2602-fe0f.png").read_bytes())).convert("RGBA")
    assert drawn.size == (64, 64)
    assert (drawn.getpixel((32, 8)), drawn.getpixel((32, 56))) == ((255, 255, 0, 255), (0, 0, 0, 0))
    with pytest.raises(DataError, match="exists; name another folder"):
        emoji.main()


def test_a_missing_package_is_named_and_leaves_nothing(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(packages / "emoji-datasource-facebook")
    monkeypatch.setattr("sys.argv", ["emoji.py", str(packages), str(tmp_path / "out" / "emoji")])
    with pytest.raises(DataError, match="run `npm install emoji-datasource-facebook` in"):
        emoji.main()
    assert not (tmp_path / "out").exists()


HOSTILE = '<svg xmlns="http://www.w3.org/2000/svg">{}</svg>'


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("{", r"emoji\.json' is not readable JSON"),
        ("[" * 100_000, r"emoji\.json' is not readable JSON \(brackets are nested too deeply\)"),
        ("{}", r"emoji\.json: the whole: Input should be a valid list; install the package's current version"),
        (json.dumps([{"unified": "2602", "image": "2602.png"}]), r"emoji\.json: 0\.name: Field required"),
        (json.dumps([entry("2602", "-", image="../../secret.png")]), r"emoji\.json: 0\.image: String should match"),
        (json.dumps([entry("2602", "-", image="/2602.png")]), r"emoji\.json: 0\.image: String should match"),
        (json.dumps([entry("../../2602", "-", image="2602.png")]), r"emoji\.json: 0\.unified: String should match"),
        (
            json.dumps([entry("270B", "-", skin_variations={"X": entry("270B", "-")})]),
            r"0\.skin_variations\.X\.\[key\]",
        ),
    ],
)
def test_a_list_that_is_damaged_or_names_files_elsewhere_is_refused(packages: Path, listed: str, message: str) -> None:
    (packages / "emoji-datasource-google/emoji.json").write_text(listed)
    with pytest.raises(DataError, match=message):
        emoji.drawn_by_all(packages)


@pytest.mark.parametrize(
    ("drawing", "reason"),
    [
        ("<svg", "unclosed token"),
        ("<html>404</html>", "an element 'html'"),
        ("version https://git-lfs.github.com/spec/v1", "syntax error"),
        (HOSTILE.format('<image href="/tmp/elsewhere.png"/>'), "an element 'image'"),
        (HOSTILE.format("<g>" * 50_000 + "</g>" * 50_000), "elements nested too deeply"),
        ('<svg xmlns="other"/>', "SVG"),
    ],
)
def test_a_drawing_that_is_none_or_leads_elsewhere_is_named_and_leaves_nothing(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawing: str, reason: str
) -> None:
    (packages / "openmoji/color/svg/2602.svg").write_text(drawing)
    monkeypatch.setattr("sys.argv", ["emoji.py", str(packages), str(tmp_path / "emoji"), "--unseen", "1"])
    with pytest.raises(DataError, match=rf"2602\.svg: not a drawing in openmoji's format \(.*{reason}"):
        emoji.main()
    assert not (tmp_path / "emoji").exists()


@pytest.mark.parametrize("count", ["-1", "0", "2"])
def test_as_many_can_be_kept_out_of_training_as_there_are(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: str
) -> None:
    monkeypatch.setattr("sys.argv", ["emoji.py", str(packages), str(tmp_path / "emoji"), "--unseen", count])
    with pytest.raises(DataError, match=rf"^--unseen is {count}, but 1 of 3 emoji can be held out"):
        emoji.main()

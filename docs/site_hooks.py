"""Takes what pages link to outside of docs/ into the site: the README, CONTRIBUTING.md, config.yaml, presets."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
FOLDER = re.compile(r"\[([^]]+)\]\(\.\./[\w/]+/\)")
LINK = re.compile(r"\]\(([^):#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the project's own pages, and the files that any page links to."""
    docs = Path(config.docs_dir)
    for name in PAGES:
        files.append(File.generated(config, name, content=(ROOT / name).read_text(encoding="utf-8")))
    for page in [*docs.glob("*.md"), *(ROOT / name for name in PAGES)]:
        for link, _ in LINK.findall(page.read_text(encoding="utf-8")):
            target = (page.parent / link).resolve()
            name = target.relative_to(ROOT).as_posix()
            if target.is_file() and docs not in target.parents and name not in files.src_uris:
                files.append(File.generated(config, name, abs_src_path=str(target)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to where the site has the files: all pages lie in one folder. A link to a folder becomes text."""
    prefix = "docs/" if page.file.src_uri in PAGES else "../"
    return LINK.sub(lambda match: f"]({match[1].removeprefix(prefix)}{match[2] or ''})", FOLDER.sub(r"\1", markdown))

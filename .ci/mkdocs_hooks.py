"""Adds the Markdown files outside docs/ that its pages link to (`../FILE.md`) to the site."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

OUTSIDE = re.compile(r"(?<=\]\()\.\./(?=[\w/]+\.md)")
INSIDE = re.compile(r"(?<=\]\()docs/(?=[\w/]+\.md)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    root = Path(config.docs_dir).parent
    for page in list(files.documentation_pages()):
        for link in re.findall(OUTSIDE.pattern + r"([\w/]+\.md)", page.content_string):
            if link not in files.src_uris:
                files.append(File.generated(config, link, abs_src_path=str(root / link)))
    return files


def on_page_markdown(markdown: str, **kwargs: object) -> str:
    """All pages lie in one folder of the site, so links lose `../` and `docs/`."""
    return INSIDE.sub("", OUTSIDE.sub("", markdown))

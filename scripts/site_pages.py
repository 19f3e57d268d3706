"""Hooks of mkdocs: pages that lie at the root of the repository, and links that lead there.

README, CONTRIBUTING and CHANGELOG stay where people and tools look for them; the site takes them in
under other names, and links between all pages follow. A link to a file that is no page (a folder of
measurements) keeps its text only, because there is nothing to lead to.
"""

import html
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
ROOT_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_SOURCES = {page: source for source, page in ROOT_PAGES.items()}
ESCAPED_PIPE = r"\|"
_PIPES = re.compile(r"`([^`\n]*\\\|[^`\n]*)`")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s#]*)(#[^()\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root."""
    for source, page in ROOT_PAGES.items():
        content = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to where their targets lie in the site."""
    at = page.file.src_uri
    pages = {file.src_uri for file in files}
    parts = _FENCE.split(markdown)  # what is shown as code is no link
    parts[::2] = [_LINK.sub(lambda m: site_link(m, at, pages), text) for text in parts[::2]]
    parts[::2] = [_PIPES.sub(code_with_pipes, text) for text in parts[::2]]
    return "".join(parts)


def code_with_pipes(match: re.Match[str]) -> str:
    """Code in a cell of a table, whose escaped pipes Python-Markdown would show with the escape."""
    code = html.escape(match[1]).replace(ESCAPED_PIPE, "&#124;")
    return f"<code>{code.replace('[', '&#91;').replace(']', '&#93;')}</code>"


def site_link(match: re.Match[str], page: str, pages: set[str]) -> str:
    """One link of a page, as the site needs it."""
    text, target, anchor = match[1], match[2], match[3] or ""
    if not target or re.match(r"[a-z]+:", target):
        return match[0]
    source = _SOURCES.get(page, f"docs/{page}")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    place = ROOT_PAGES.get(path, path.removeprefix("docs/"))
    if place not in pages:
        if (ROOT / path).exists():
            return text
        return match[0]  # leads nowhere: mkdocs says so
    return f"[{text}]({posixpath.relpath(place, posixpath.dirname(page) or '.')}{anchor})"

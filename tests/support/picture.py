"""Pictures of a terminal for the documentation."""

from __future__ import annotations

import io
from pathlib import Path

from playwright.sync_api import Browser
from rich.ansi import AnsiDecoder
from rich.console import Console

# The natural line height of the font, at which the borders of neighboring lines touch.
PAGE = """<meta charset="utf-8"><style>{stylesheet}
body {{ margin: 0; background: #121212 }}
pre {{ margin: 0; padding: 8px; width: max-content; color: {foreground}; font: 15px/1.1640625 'DejaVu Sans Mono' }}
</style><pre>{code}</pre>"""


def draw(browser: Browser, screen: str, width: int, path: Path) -> None:
    """Writes a PNG of a screen with escape sequences."""
    console = Console(
        record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    # One decoder: a color goes on in the next line.
    for line in AnsiDecoder().decode(screen):
        console.print(line, no_wrap=True, overflow="crop", highlight=False)
    page = browser.new_page()
    html = console.export_html(code_format=PAGE, inline_styles=True)
    page.set_content(html.replace("\n</pre>", "</pre>"))
    page.locator("pre").screenshot(path=path)
    page.close()

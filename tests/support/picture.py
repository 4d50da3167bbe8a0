"""Pictures of a terminal for the documentation."""

from __future__ import annotations

import io
from pathlib import Path

from playwright.sync_api import Browser
from rich.console import Console
from rich.text import Text

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
    for line in screen.splitlines():
        console.print(Text.from_ansi(line), no_wrap=True, overflow="crop", highlight=False)
    page = browser.new_page()
    page.set_content(console.export_html(code_format=PAGE, inline_styles=True))
    page.locator("pre").screenshot(path=path)
    page.close()

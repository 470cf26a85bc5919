"""The colours of pages and timelines, for light and dark pages; the PNG uses the light ones."""

from __future__ import annotations

LIGHT = {
    "page": "#f6f7f9",
    "card": "#ffffff",
    "ink": "#16202c",
    "soft": "#5b6876",
    "line": "#dde2e8",
    "curve": "#2563eb",
    "area": "#2563eb2b",
    "span": "#0d9488",
    "truth": "#d97706",
    "onset": "#be123c",
    "gone": "#7b8794",
    "good": "#0f766e",
    "fair": "#b45309",
    "bad": "#be123c",
    "warn-page": "#fff7e6",
    "warn-ink": "#8a4b08",
    "warn-line": "#f3cf8f",
}
DARK = {
    "page": "#10151b",
    "card": "#181f27",
    "ink": "#e6ebf0",
    "soft": "#95a2b0",
    "line": "#2b3641",
    "curve": "#60a5fa",
    "area": "#60a5fa30",
    "span": "#14a89a",
    "truth": "#e59b3c",
    "onset": "#fb7185",
    "gone": "#8794a2",
    "good": "#2dd4bf",
    "fair": "#e59b3c",
    "bad": "#fb7185",
    "warn-page": "#33270f",
    "warn-ink": "#f3cf8f",
    "warn-line": "#6b5220",
}


def variables(colours: dict[str, str]) -> str:
    """The colours as CSS variables."""
    return " ".join(f"--{name}: {value};" for name, value in colours.items())

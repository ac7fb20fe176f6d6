"""How the page looks: system fonts, one accent colour, light and dark. Nothing is loaded from another host."""

from importlib import resources
from typing import Any

__all__ = ["look"]


def look() -> dict[str, Any]:
    """Theme, CSS and script, as arguments of `gradio.mount_gradio_app`."""
    folder = resources.files("jobtuner.serve.page")
    return {
        "theme": _theme(),
        "css": (folder / "page.css").read_text(encoding="utf-8"),
        "head": '<meta name="color-scheme" content="light dark">',
    }


def _theme() -> Any:
    from gradio import themes
    from gradio.themes import sizes

    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
    theme = themes.Base(
        primary_hue=themes.colors.teal,
        secondary_hue=themes.colors.teal,
        neutral_hue=themes.colors.slate,
        radius_size=sizes.radius_md,
        text_size=sizes.text_md,
        font=fonts,
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
    )
    return theme.set(
        body_background_fill="#f6f8fa",
        body_background_fill_dark="#0d1420",
        body_text_color="#1b2533",
        body_text_color_dark="#e6ebf2",
        # Subdued text keeps 4.5 : 1 and more on both backgrounds (WCAG 2.2, 1.4.3).
        body_text_color_subdued="#4a5768",
        body_text_color_subdued_dark="#a3b0c2",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#151e2c",
        border_color_primary="#d5dce5",
        border_color_primary_dark="#2b384b",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_shadow="none",
        block_shadow_dark="none",
        block_padding="0px",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_text_weight="600",
        block_info_text_color="*body_text_color_subdued",
        block_info_text_color_dark="*body_text_color_subdued",
        input_background_fill="#ffffff",
        input_background_fill_dark="#101826",
        # Borders of fields are told from the background by 3 : 1 (WCAG 2.2, 1.4.11).
        input_border_color="#7d8b9c",
        input_border_color_dark="#607086",
        input_border_width="1px",
        input_border_color_focus="#0f766e",
        input_border_color_focus_dark="#2dd4bf",
        input_shadow_focus="0 0 0 3px rgba(15, 118, 110, 0.25)",
        input_shadow_focus_dark="0 0 0 3px rgba(45, 212, 191, 0.25)",
        input_placeholder_color="#5f6c7d",
        input_placeholder_color_dark="#94a2b5",
        button_primary_background_fill="#0f766e",
        button_primary_background_fill_dark="#2dd4bf",
        button_primary_background_fill_hover="#115e59",
        button_primary_background_fill_hover_dark="#5eead4",
        button_primary_border_color="transparent",
        button_primary_border_color_dark="transparent",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#06231f",
        button_secondary_background_fill="#e8edf2",
        button_secondary_background_fill_dark="#223044",
        button_secondary_background_fill_hover="#d9e1e9",
        button_secondary_background_fill_hover_dark="#2c3d55",
        button_secondary_text_color="*body_text_color",
        button_secondary_text_color_dark="*body_text_color",
        button_secondary_border_color="transparent",
        button_secondary_border_color_dark="transparent",
    )

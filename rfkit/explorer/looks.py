"""How the explorer looks in a notebook: columns of panels, and sliders for the mouse alone."""

from __future__ import annotations

import ipywidgets as widgets

__all__ = ["looks"]

# ipywidgets gives the handle of a slider no name that a screen reader could read out. The number box beside it has one,
# and takes keys. So the handle is hidden, from the keyboard too, and its inner part, which takes the mouse, is shown.
_STYLE = """
.rfkit-explorer { container-type: inline-size; overflow: visible; }
.rfkit-slider .noUi-handle { visibility: hidden; }
.rfkit-slider .noUi-touch-area {
  visibility: visible; border-radius: 50%; background: var(--jp-brand-color1, #0077bb); cursor: grab;
}
.rfkit-slider [disabled] .noUi-touch-area { background: #999; cursor: not-allowed; }
.rfkit-panels {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(350px, 100%), 1fr)); gap: 6px; overflow: visible;
}
.rfkit-pair { grid-column: span 2; display: flex; flex-flow: row wrap; gap: 6px; overflow: visible; }
.rfkit-pair > .rfkit-panel { flex: 1 1 210px; }
@container (max-width: 719px) { .rfkit-pair { grid-column: auto; } }
.rfkit-panel {
  margin: 0; min-width: 0; overflow: hidden; background: white; border-radius: 3px; align-items: center;
}
.rfkit-picture { display: block; max-width: 100%; height: auto; }
.rfkit-picture.rfkit-clickable { cursor: crosshair; }
.rfkit-picture:focus-visible { outline: 3px solid #0077bb; outline-offset: -3px; }
.rfkit-stale .rfkit-picture { opacity: 0.45; }
.rfkit-note {
  box-sizing: border-box; max-width: 410px; min-height: 240px; margin: 0; padding: 90px 2em 2em;
  text-align: center; line-height: 1.5; color: #444;
}
.rfkit-hint { opacity: 0.75; }
"""


def looks() -> widgets.HTML:
    """A widget that is not seen, and brings the style sheet."""
    return widgets.HTML(f"<style>{_STYLE}</style>", layout={"display": "none"})

"""How long the explorer takes to show another unit of a layer that it has looked at before.

For each panel: computing and drawing it, for a unit that is new and for one that was seen. The sum is the time until
the last panel has changed; the first one changes after its own time. What notebook and browser add is not in it.

    python benchmarks/explorer.py [--model dwrseg_l] [--size 360 480] [--layer stage4] [--turns 10]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import torch

from rfkit.data.scenes import Scenes
from rfkit.explorer.choice import PANELS, Choice
from rfkit.explorer.choosing import changed_choice, first_choice
from rfkit.explorer.findings import Findings
from rfkit.explorer.menu import Menu
from rfkit.explorer.panels import draw_panel
from rfkit.models.registry import create_model


def measure(findings: Findings, choice: Choice) -> dict[str, tuple[float, float]]:
    """Panel -> seconds until it is drawn, and processor seconds of them."""
    found = {}
    for name in PANELS:
        # Attribution is switched off at first, and RR and SR are those of the layer whatever the unit.
        if name not in ("attribution", "region", "semantic"):
            begun, used = time.perf_counter(), time.process_time()
            draw_panel(name, findings.get(name, choice), choice, findings.menu)
            found[name] = (time.perf_counter() - begun, time.process_time() - used)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the medians over units."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dwrseg_l")
    parser.add_argument("--size", type=int, nargs=2, default=(360, 480), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--layer", default="stage4")
    parser.add_argument("--turns", type=int, default=10, help="units; one more comes first")
    options = parser.parse_args(arguments)
    height, width = options.size
    model = create_model(options.model, num_classes=11, seed=0).eval()
    menu = Menu(model, Scenes("test", size=(height, width), length=1)[0].image)
    findings = Findings(menu)
    first = first_choice(menu, layer=options.layer)
    places = torch.randint(0, height * width, (options.turns + 1,), generator=torch.Generator().manual_seed(0))
    choices = [changed_choice(menu, first, pixel=divmod(int(place), width)) for place in places]
    print(f"{options.model}, {width}x{height}, {options.layer}, torch {torch.__version__}, ", end="")
    print(f"{torch.get_num_threads()} threads; medians over {options.turns} units, in ms (and of processor time)")
    for label in ("new unit", "seen before"):
        # The first turn also computes the layer, and loads fonts.
        turns = [measure(findings, choice) for choice in choices][1:]
        for name in turns[0]:
            print(f"{label:12s} {name:10s} {_medians([turn[name] for turn in turns])}")
        totals = [tuple(map(sum, zip(*turn.values(), strict=True))) for turn in turns]
        print(f"{label:12s} {'all':10s} {_medians(totals)}")


def _medians(pairs: Sequence[tuple[float, ...]]) -> str:
    wall, used = (1000 * statistics.median(values) for values in zip(*pairs, strict=True))
    return f"{wall:7.0f} ({used:.0f})"


if __name__ == "__main__":
    main()

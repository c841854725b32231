"""How long the explorer takes to show another unit of a layer that it has looked at before.

For a unit that is new and for one that was seen: from the choice until the first panel has changed, and until each of
them has. As in a notebook, the worker computes while an event loop draws. RR and SR are those of the layer, whatever
the unit, and attribution is switched off at first. What notebook and browser add is not in it.

    python benchmarks/explorer.py [--model dwrseg_l] [--size 360 480] [--layer stage4] [--turns 10]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence

import torch

import rfkit
from rfkit.explorer.view import Explorer

PANELS = ("box", "map", "support", "effective")


class Watched(Explorer):
    """An explorer that notes when each panel is shown."""

    shown_at: dict[str, float]

    async def measure(self, pixel: tuple[int, int]) -> dict[str, float]:
        """Panel -> seconds until it shows the unit at `pixel`."""
        self.shown_at = {}
        begun = time.perf_counter()
        self.choose(pixel=pixel)
        while self.outdated():
            await asyncio.sleep(0.001)
        return {name: at - begun for name, at in self.shown_at.items()}

    def outdated(self) -> list[str]:
        """Panels that do not show the choice yet."""
        return self._outdated()

    def _show(self, name: str, found: object) -> None:
        super()._show(name, found)
        if hasattr(self, "shown_at"):
            self.shown_at[name] = time.perf_counter()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the medians over units."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dwrseg_l")
    parser.add_argument("--size", type=int, nargs=2, default=(360, 480), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--layer", default="stage4")
    parser.add_argument("--turns", type=int, default=10, help="units; one more comes first")
    asyncio.run(_measure(parser.parse_args(arguments)))


async def _measure(options: argparse.Namespace) -> None:
    height, width = options.size
    explorer = _explorer(options.model, (height, width), options.layer)
    places = torch.randint(0, height * width, (options.turns + 1,), generator=torch.Generator().manual_seed(0))
    pixels = [divmod(int(place), width) for place in places]
    # Computes the layer, and loads fonts.
    await explorer.measure(pixels.pop(0))
    print(f"{options.model}, {width}x{height}, {options.layer}, torch {torch.__version__}, ", end="")
    print(f"{torch.get_num_threads()} threads; medians over {options.turns} units, in ms from the choice")
    for label in ("new unit", "seen before"):
        turns = [await explorer.measure(pixel) for pixel in pixels]
        for name in (*PANELS, "all"):
            # Two pixels may mean one unit, and then nothing changes.
            found = [max(turn.values()) if name == "all" else turn[name] for turn in turns if turn]
            print(f"{label:12s} {name:10s} {1000 * statistics.median(found):7.0f}")
    explorer.close()


def _explorer(model: str, size: tuple[int, int], layer: str) -> Watched:
    from rfkit.explorer.choosing import first_choice
    from rfkit.explorer.findings import Findings
    from rfkit.explorer.menu import Menu
    from rfkit.explorer.worker import Worker

    network = rfkit.create_model(model, num_classes=11, seed=0).eval()
    worker = Worker()
    menu = Menu(network, rfkit.Scenes("test", size=size, length=1)[0].image)
    return Watched(Findings(menu, watch=worker.watch), worker, first_choice(menu, layer=layer), PANELS)


if __name__ == "__main__":
    main()

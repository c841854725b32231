"""The explorer's controls: each has a label that belongs to it, and can be reached and changed with the keyboard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from rfkit.explorer.choice import METHODS, PANELS, Choice
from rfkit.explorer.menu import Menu

__all__ = ["Controls"]

_ALL = "all"
_RULE = "by the rule"
# Not None, which a dropdown shows as nothing chosen.
_PREDICTED, _NO_CLASS = "predicted there", -1
_HERE, _EVERYWHERE = "the pixel", "all predicted pixels"
_WRAPPED = {"display": "flex", "flex_flow": "row wrap", "align_items": "center"}


class Controls(widgets.VBox):
    """Drop-down lists, numbers and switches for what can be chosen.

    Args:
        menu: what can be chosen.
        choose: called with the fields of the choice that a user changes.
        switch: called with the names of the panels that a user wants to see.
    """

    def __init__(self, menu: Menu, choose: Callable[..., None], switch: Callable[[tuple[str, ...]], None]) -> None:
        self._menu, self._choose, self._switch = menu, choose, switch
        self._filling = False
        layers = tuple(menu.shapes)
        channels = max(shape[0] for shape in menu.shapes.values())
        self.stage = _dropdown("Stage", "Stage, or module of the network", tuple(menu.stages))
        self.layer = _dropdown("Block", "Block of the stage, or layer of the module", layers)
        self.branch = _dropdown("Branch", "Branch through which the ERF flows, and of RR and SR", (_ALL,))
        self.channel = _dropdown("Channel", "Channel of the feature map and the ERF", _numbers(_ALL, channels))
        self.row = _Coordinate("Row", "Row of the unit in its map")
        self.column = _Coordinate("Column", "Column of the unit in its map")
        self.region = _dropdown("RR channel", "Channel of the region map", (_RULE,))
        classes = ((_PREDICTED, _NO_CLASS), *((name, index) for index, name in enumerate(menu.class_names)))
        self.class_index = _dropdown("Class", "Class whose score is attributed", classes)
        self.where = _dropdown("Score at", "Pixels over which the score is added up", (_HERE, _EVERYWHERE))
        methods = tuple((" ".join([name.replace("_", " "), *_steps_of(name)]), name) for name in METHODS)
        self.method = _dropdown("Method", "Method of attribution", methods)
        self.switches = {
            name: widgets.Checkbox(
                description=title, indent=False, tooltip=f"Show the panel: {title}",
                layout=widgets.Layout(width="max-content", margin="0 12px 0 0"),
            )
            for name, title in PANELS.items()
        }  # fmt: skip
        if menu.no_classes:
            self.switches["attribution"].disabled = True
            self.switches["attribution"].tooltip = menu.no_classes
        self.of_attribution = widgets.Box([self.class_index, self.where, self.method], layout=_WRAPPED)
        super().__init__(
            [
                widgets.Box([self.stage, self.layer, self.branch, self.channel], layout=_WRAPPED),
                widgets.Box([self.row, self.column, self.region], layout=_WRAPPED),
                widgets.Box(list(self.switches.values()), layout=_WRAPPED),
                self.of_attribution,
            ]
        )
        self._listen()

    def _listen(self) -> None:
        for control, changes in (
            (self.stage, lambda value: {"layer": self._menu.stages[value][0]}),
            (self.layer, lambda value: {"layer": value}),
            (self.branch, lambda value: {"branch": "" if value == _ALL else value}),
            (self.channel, lambda value: {"channel": None if value == _ALL else int(value)}),
            (self.row, lambda value: {"unit": (value, self.column.number.value)}),
            (self.column, lambda value: {"unit": (self.row.number.value, value)}),
            (self.region, lambda value: {"region_channel": None if value == _RULE else int(value)}),
            (self.class_index, lambda value: {"class_index": None if value == _NO_CLASS else value}),
            (self.where, lambda value: {"whole_class": value == _EVERYWHERE}),
            (self.method, lambda value: {"method": value}),
        ):
            for part in control.children if isinstance(control, _Coordinate) else (control,):
                part.observe(self._heard(changes), "value")
        for switch in self.switches.values():
            switch.observe(self._switched, "value")

    def _heard(self, changes: Callable[[Any], dict[str, Any]]) -> Callable[[Any], None]:
        def heard(event: Any) -> None:
            if not self._filling:
                self._choose(**changes(event["new"]))

        return heard

    def _switched(self, _event: Any) -> None:
        if not self._filling:
            self._switch(tuple(name for name, switch in self.switches.items() if switch.value))

    def fill(self, choice: Choice, shown: Sequence[str]) -> None:
        """Put the choice into the controls, without hearing of it from them."""
        menu = self._menu
        self._filling = True
        try:
            stage = menu.stage_of(choice.layer)
            self.stage.value = stage
            _set_options(self.layer, menu.stages[stage], choice.layer)
            self.layer.disabled = len(menu.stages[stage]) == 1
            branches = menu.branches(choice.layer)
            _set_options(self.branch, (_ALL, *branches), choice.branch or _ALL)
            self.branch.disabled = not branches
            channels, rows, columns = menu.shapes[choice.layer]
            _set_options(self.channel, _numbers(_ALL, channels), _text(choice.channel, _ALL))
            self.row.fill(rows, choice.unit[0])
            self.column.fill(columns, choice.unit[1])
            count = menu.region_channels(choice.layer)
            _set_options(self.region, _numbers(_RULE, count), _text(choice.region_channel, _RULE))
            self.region.disabled = not count
            self.class_index.value = _NO_CLASS if choice.class_index is None else choice.class_index
            self.method.value = choice.method
            self.where.value = _EVERYWHERE if choice.whole_class else _HERE
            for name, switch in self.switches.items():
                switch.value = name in shown
            self.of_attribution.layout.display = "flex" if "attribution" in shown else "none"
        finally:
            self._filling = False


class _Coordinate(widgets.HBox):
    """A number with its label, for the keyboard, and a slider for the mouse."""

    def __init__(self, label: str, tooltip: str) -> None:
        self.number = widgets.BoundedIntText(
            0, 0, 1, description=label, tooltip=tooltip, style={"description_width": "initial"},
            layout={"width": f"calc({len(label)}ch + 70px)"},
        )  # fmt: skip
        self.slider = widgets.IntSlider(
            0, 0, 1, readout=False, continuous_update=False, layout={"width": "190px", "margin": "2px 14px 2px 2px"}
        ).add_class("rfkit-slider")
        super().__init__([self.number, self.slider], layout={"align_items": "center"})

    def fill(self, count: int, value: int) -> None:
        for part in (self.number, self.slider):
            part.max = count - 1
            part.value = value
            part.disabled = count == 1


def _dropdown(label: str, tooltip: str, options: Sequence[Any]) -> widgets.Dropdown:
    # As wide as the longest of its options at first, so that nothing moves when these change.
    longest = max(len(option if isinstance(option, str) else option[0]) for option in options)
    return widgets.Dropdown(
        options=options, description=label, tooltip=tooltip, style={"description_width": "initial"},
        layout={
            "width": f"calc({len(label) + longest}ch + 50px)", "max_width": "100%", "margin": "2px 14px 2px 2px"
        },
    )  # fmt: skip


def _set_options(dropdown: widgets.Dropdown, options: Sequence[Any], value: Any) -> None:
    if tuple(dropdown.options) != tuple(options):
        dropdown.options = options
    dropdown.value = value


def _numbers(otherwise: str, count: int) -> tuple[str, ...]:
    return (otherwise, *map(str, range(count)))


def _text(value: int | None, otherwise: str) -> str:
    return otherwise if value is None else str(value)


def _steps_of(method: str) -> list[str]:
    return [f"({count} {'steps' if 'steps' in name else 'samples'})" for name, count in METHODS[method].items()]

"""The report: one HTML file that needs nothing else, and the tables beside it."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from rfkit._files import write_text
from rfkit._version import __version__
from rfkit.plots.advice import plot_stage_evidence
from rfkit.plots.styles import dilation_colour
from rfkit.results.advice import Advice, StageAdvice
from rfkit.studies.adviser.blocks import PLAIN_TORCH
from rfkit.studies.adviser.report_style import STYLE

__all__ = ["CODE", "EVIDENCE", "REPORT", "RESULT", "TABLE", "report_html", "write_report"]

REPORT, TABLE, EVIDENCE, CODE, RESULT = (
    "report.html", "advice.csv", "evidence.csv", "suggested_blocks.py", "advice.npz",
)  # fmt: skip

# A colour that occurs nowhere else: it becomes the colour of the text, be the page light or dark.
_INK = "#123456"
_STRENGTH = {
    "strong": "Every criterion is met.",
    "moderate": "All criteria but the number of epochs are met.",
    "weak": "Some criteria are not met; take the suggestion as a first guess.",
    "none": "The trainings say nothing about this stage.",
}


def write_report(advice: Advice, folder: str | Path) -> Path:
    """Write the report, both tables, the code and the result into `folder`; returns the path of the report."""
    folder = Path(folder)
    write_text(folder / TABLE, advice.to_frame().to_csv(index=False))
    write_text(folder / EVIDENCE, advice.evidence_frame().to_csv(index=False))
    write_text(folder / CODE, advice.code)
    advice.save(folder / RESULT)
    write_text(folder / REPORT, report_html(advice))
    return folder / REPORT


def report_html(advice: Advice) -> str:
    """The report as one HTML page: its figures are inside, nothing is loaded from elsewhere."""
    title = f"Receptive fields for {advice.network}"
    body = "\n".join(
        (
            f"<header><h1>{escape(title)}</h1>{_paragraph(_budget(advice))}</header>",
            _section("In short", _warning(advice), _overview(advice), _totals(advice)),
            _section("Stage by stage", *(_stage(advice, stage) for stage in advice.stages)),
            _section("The suggested blocks", *_code(advice)),
            _section("What to do next", _next_steps(advice)),
            _section("How this was found", *_method(advice)),
            f"<footer>Made by rfkit {__version__}. It shows no frame of the data.</footer>",
        )
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


# ---- in short -------------------------------------------------------------------------------------------------------


def _budget(advice: Advice) -> str:
    count = len(advice.trainings)
    asked = f" ({advice.minutes:g} minutes were asked for)" if advice.minutes is not None else ""
    return (
        f"{advice.data}, {advice.images} images of its split {advice.split} at {_size(advice)}; "
        f"{count} training{'s' * (count > 1)} of {advice.epochs} epochs each{asked}, "
        f"seed{'s' * (count > 1)} {', '.join(str(training.seed) for training in advice.trainings)}."
    )


def _warning(advice: Advice) -> str:
    weak = [stage.stage for stage in advice.stages if stage.strength in ("weak", "none")]
    if not weak:
        return ""
    where = "every stage" if len(weak) == len(advice.stages) else ", ".join(weak)
    failed = dict.fromkeys(
        criterion.name for stage in advice.stages for criterion in stage.criteria if not criterion.met
    )
    return (
        f'<p class="warning"><strong>Weak evidence for {escape(where)}.</strong> Not met there, or not everywhere: '
        f"{escape(', '.join(failed))}. Below it is said of each stage what is missing.</p>"
    )


def _overview(advice: Advice) -> str:
    rows = [
        (
            f"<strong>{escape(stage.stage)}</strong><br><small>1/{stage.output_stride}, {_blocks(stage)}</small>",
            _chips(stage.tested),
            _chips(stage.rates),
            ":".join(map(str, stage.alpha)) if len(stage.rates) > 1 else "all",
            f'<span class="strength {stage.strength}">{stage.strength}</span>',
            _change(_pixels(stage.field_before), _pixels(stage.field_after)),
            _change(_mega(stage.cost_before), _mega(stage.cost_after)),
        )
        for stage in advice.stages
    ]
    head = ("stage", "tested rates", "suggested", "channels", "evidence", "receptive field (px)", "multiply-adds (M)")
    return _table(head, rows, kind="stack")


def _totals(advice: Advice) -> str:
    cost, parameters = advice.cost, advice.parameters
    share = cost["after"] / cost["before"]
    together = ""
    if advice.together:
        drops = ", ".join(f"{100 * drop:.1f}" for drop in advice.together)
        together = (
            f" Removing all rates that are left out at once costs the trained probes {drops} points of mIoU"
            f"{', more than half a point: they stand in for each other' if max(advice.together) > 0.005 else ''}."
        )
    return _paragraph(
        f"The whole network at {_size(advice)}: {_mega(cost['before'])} M multiply-adds now, {_mega(cost['probe'])} M "
        f"as a probe, {_mega(cost['after'])} M with the suggested blocks ({share:.2f} times yours); parameters "
        f"{parameters['before']:,}, {parameters['probe']:,} and {parameters['after']:,}.{together} Neither your "
        "network nor the suggested one was trained here, so nothing is said about their scores."
    )


# ---- stage by stage -------------------------------------------------------------------------------------------------


def _stage(advice: Advice, stage: StageAdvice) -> str:
    figure = _figure(advice, stage)
    criteria = "".join(
        f'<li class="{"met" if criterion.met else "unmet"}"><span aria-hidden="true">'
        f"{'✓' if criterion.met else '✗'}</span><strong>{escape(criterion.name)}</strong>"
        f'<span class="hidden"> ({"met" if criterion.met else "not met"})</span>: {escape(criterion.text)}</li>'
        for criterion in stage.criteria
    )
    return (
        f'<article><h3>{escape(stage.stage)} <span class="strength {stage.strength}">{stage.strength} evidence</span>'
        f"</h3>{_paragraph(_capital(stage.sentence))}"
        f'<div class="columns"><figure>{figure}</figure><div>'
        f'<p>{_STRENGTH[stage.strength]}</p><ul class="criteria">{criteria}</ul>'
        f"{_paragraph(_checks(stage))}</div></div></article>"
    )


def _checks(stage: StageAdvice) -> str:
    return f"The suggested stack: {_bound(stage)}; {_holes(stage)}."


def _bound(stage: StageAdvice) -> str:
    if max(stage.rates) == 1:
        return "no dilated convolution, so no bound applies"
    if stage.bound_kept is None or math.isnan(stage.bound):
        return "the bound k / s on its rates is not known"
    if stage.bound_kept:
        return f"rate {max(stage.rates)} keeps the bound k / s (at least {stage.bound:.3g} here)"
    return f"a rate breaks the bound k / s, which is {stage.bound:.3g} where it is least"


def _holes(stage: StageAdvice) -> str:
    if stage.contiguous is None:
        return "whether it leaves holes is not known"
    if stage.contiguous:
        return "it leaves no pixel out along an axis"
    return f"it leaves {100 * (1 - stage.coverage):.2g} % of the pixels out along an axis (gridding)"


def _figure(advice: Advice, stage: StageAdvice) -> str:
    """The evidence of a stage as inline SVG, which takes on the colour of the text around it."""
    ink: dict[Any, Any] = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK
    )
    with mpl.rc_context(ink):
        figure = plot_stage_evidence(advice, stage.stage)
        try:
            return _svg(figure, label=f"What removing each rate from {stage.stage} costs, and how rates are weighed.")
        finally:
            plt.close(figure)


def _svg(figure: Figure, *, label: str) -> str:
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rfkit"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # The page decides on the width; the height follows.
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)


# ---- code, next steps, method ---------------------------------------------------------------------------------------


def _code(advice: Advice) -> Iterable[str]:
    yield _paragraph(
        f"Saved as {CODE}. Rate 1 alone becomes the paper's SIR block, other rates a DWR block, whose branches share "
        "the channels as stated. The new blocks are untrained."
    )
    yield f"<pre><code>{escape(advice.code)}</code></pre>"
    yield (
        "<details><summary>The DWR block without rfkit</summary>"
        f"<pre><code>{escape(PLAIN_TORCH)}</code></pre></details>"
    )


def _next_steps(advice: Advice) -> str:
    epochs = min(training.epochs for training in advice.trainings)
    steps = []
    if len(advice.trainings) < 3:
        steps.append("Add seeds: the same call with more seeds keeps the trainings that are there.")
    if epochs < 300:
        steps.append(
            f"Train longer, in another folder: {epochs:g} epochs are far from the 300 below which this project calls "
            "no statement on branch weights decided."
        )
    steps.append(
        "Train your network and <code>rebuild(network)</code> with one recipe and the same seeds, and compare: "
        "<code>rfkit.train(rebuild(network), data, out=...)</code>. Only that tells whether the suggestion helps."
    )
    steps.append(
        "Look where the suggested network looks: <code>rfkit.trace</code>, <code>rfkit.effective_rf</code>, "
        "<code>rfkit.dilation_bound</code>."
    )
    return f"<ol>{''.join(f'<li>{step}</li>' for step in steps)}</ol>"


def _method(advice: Advice) -> Iterable[str]:
    changed = f" with {', '.join(advice.overrides)}" if advice.overrides else ""
    scores = ", ".join(
        f"seed {training.seed}: {100 * training.miou:.1f} ({training.steps} steps)" for training in advice.trainings
    )
    yield _paragraph(
        "The blocks of the network were replaced by competing branches (DWRSeg, section 4.2): convolutions with every "
        "tested rate read the same maps, and a 1x1 convolution weighs them. This probe was trained with recipe "
        f"{advice.recipe}{changed}. On {advice.trainings[0].images} images of {advice.validation}, mIoU of the probes "
        f"was {scores}."
    )
    yield _paragraph(
        "A rate is removed by holding its branch at its mean in all blocks of a stage, without training again. It is "
        "spare if the 95 % interval of the cost ends below half a point of mIoU in every training, needed if it begins "
        "above zero in every training, else undecided. Spare rates are left out; the smallest rate always stays. "
        "Channels follow half the costs and half |w| x |gain|, rounded to quarters; where the trainings do not put the "
        "same rate first they are the paper's rule of thumb, 2:1:1 for rates 1, 3 and 5. Removal tells "
        "what the trained probe relies on, not what a network trained without the rate could do. The intervals "
        "are over images: what another training would have given, only the other seeds tell."
    )
    stages = "".join(
        f"<li><strong>{escape(stage.name)}</strong> (1/{stage.output_stride}): "
        f"{', '.join(f'<code>{escape(block.name)}</code>' for block in stage.blocks)}</li>"
        for stage in advice.found.stages
    )
    skipped = "".join(
        f"<li><code>{escape(name)}</code> was left as it is: {escape(reason)}</li>"
        for name, reason in advice.found.skipped
    )
    yield f"<p>The stages were {advice.found.how}:</p><ul>{stages}{skipped}</ul>"
    yield f"<details><summary>All numbers</summary>{_numbers(advice)}</details>"


def _numbers(advice: Advice) -> str:
    rows = [
        (
            str(training.seed),
            escape(branch.stage),
            f"d{branch.dilation}",
            f"{100 * branch.drop:+.2f} [{100 * branch.drop_low:+.2f}, {100 * branch.drop_high:+.2f}]",
            f"{branch.weight:.3f} [{branch.weight_low:.3f}, {branch.weight_high:.3f}]",
            f"{branch.gain:.3f}",
            f"{branch.initial:.3f}",
        )
        for training in advice.trainings
        for branch in training.branches
    ]
    head = ("seed", "stage", "rate", "cost of removal (points)", "share of |w|", "of |w| x |gain|", "before training")
    return _table(head, rows)


# ---- pieces ---------------------------------------------------------------------------------------------------------


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n" + "\n".join(part for part in parts if part) + "</section>"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, kind: str = "wide") -> str:
    """A table of HTML cells; where the page is narrow a "wide" one scrolls, one to "stack" becomes a list."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>"
        + "".join(f'<td data-head="{escape(name)}">{cell}</td>' for name, cell in zip(head, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<div class="{kind}"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _chips(rates: Sequence[int]) -> str:
    return "".join(
        f'<span class="chip"><i style="background:{dilation_colour(rate)}"></i>{rate}</span>' for rate in rates
    )


def _change(before: str, after: str) -> str:
    return f"{before} → {after}"


def _pixels(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:g}"


def _mega(count: int) -> str:
    return f"{count / 1e6:.3g}" if count < 1e9 else f"{count / 1e6:,.0f}"


def _blocks(stage: StageAdvice) -> str:
    return "1 block" if len(stage.blocks) == 1 else f"{len(stage.blocks)} blocks"


def _size(advice: Advice) -> str:
    return f"{advice.size[1]}x{advice.size[0]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

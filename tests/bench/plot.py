"""Draws a run: rates and CPU a message by work and broker, as PNG and SVG."""

from pathlib import Path
from typing import Final

from tests.bench import budgets as b
from tests.bench.contenders import NAMES
from tests.bench.samples import Results

WORKS: Final = (
    b.AMQP_FILL,
    b.AMQP_DRAIN,
    b.QOS0_LIVE,
    b.QOS1_LIVE,
    b.OFFLINE,
    b.OFFLINE_DRAIN,
    b.OFFLINE_20,
    b.OFFLINE_20_BY_20,
    b.SHOVEL,
    b.LINK,
)
COLOURS: Final = dict(zip(NAMES, ("#1b7f5c", "#7fd1ae", "#8c5fb3", "#e07b39", "#9a9a9a"), strict=True))


def draw(output: Path, results: Results, title: str) -> None:
    """Write latest.png and latest.svg."""
    # Imported here: only a run that draws needs it.
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    # The same run gives the same file: SVG's ids are random otherwise.
    mpl.rcParams["svg.hashsalt"] = "leveret"
    works = [work for work in WORKS if results.brokers(work)]
    figure, axes = plt.subplots(1, 2, figsize=(14, 1 + 0.75 * len(works)), sharey=True, layout="constrained")
    for axis, metric, label in zip(
        axes,
        ("rate", "cpu_us"),
        ("messages a second, more is better", "us of CPU a message, less is better"),
        strict=True,
    ):
        height = 0.8 / len(NAMES)
        for place, name in enumerate(NAMES):
            found = [(row, results.median(work, name, metric)) for row, work in enumerate(works)]
            bars = [(row, value) for row, value in found if value]
            positions = [row + (place - (len(NAMES) - 1) / 2) * height for row, _ in bars]
            drawn = axis.barh(
                positions, [value for _, value in bars], height, color=COLOURS[name], label=name
            )
            axis.bar_label(drawn, fmt="{:,.0f}" if metric == "rate" else "{:.1f}", fontsize=7, padding=2)
        axis.set_xscale("log")
        axis.set_xlabel(label)
        axis.grid(axis="x", alpha=0.3)
        axis.margins(x=0.15)
    axes[0].set_yticks(range(len(works)), works)
    axes[0].invert_yaxis()
    axes[1].legend(loc="lower right", fontsize=8)
    figure.suptitle(title, fontsize=9)
    figure.savefig(output / "latest.png", dpi=110)
    figure.savefig(output / "latest.svg", metadata={"Date": None})
    plt.close(figure)

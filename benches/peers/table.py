"""The table, for people at a terminal and for the README."""

import math

BEGIN, END = "<!-- peers:begin -->", "<!-- peers:end -->"
HEADS = (
    "contestant",
    "quota used",
    "throttled calls",
    "makespan ÷ bound",
    "urgent wait p50",
    "urgent wait p99",
    "CPU s / 1,000 requests",
)


def row(one):
    lost = f", {one.lost} lost" if one.lost else ""
    return (
        one.versions + lost,
        f"{one.utilisation * 100:.1f} %",
        f"{one.throttled:,} ({one.throttled_share * 100:.1f} %)",
        f"{one.stretch:.2f}",
        seconds(one.urgent_p50_s),
        seconds(one.urgent_p99_s),
        f"{one.cpu_per_1000:.1f}",
    )


def seconds(value):
    return "none" if math.isnan(value) else f"{value:.1f} s" if value >= 1 else f"{value * 1_000:.0f} ms"


def aligned(all_figures):
    rows = [HEADS, *(row(one) for one in all_figures)]
    widths = [max(len(line[column]) for line in rows) for column in range(len(HEADS))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))])
        for line in rows
    )


def markdown(all_figures):
    lines = [HEADS, ("---", *["---:"] * (len(HEADS) - 1)), *(row(one) for one in all_figures)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def update_readme(path, text):
    """Puts the text between the markers."""
    whole = path.read_text(encoding="utf-8")
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path} has no lines {BEGIN} and {END}; put them where the table belongs")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")

"""Speed of synthetic models on the device, through gme-tool and through PyTorch, and the card's own limit."""

import json
import os
import sys

from .steps import Failed, run

# Dense f16 products with sums in f32, 1e12 operations per second, of the makers' data sheets; the longest name that fits counts.
PEAKS = {
    "H200": 989, "H100 PCIe": 756, "H100": 989, "H20": 148, "A100": 312, "A40": 150, "A10": 125, "L40S": 362, "L40": 181, "L4": 121, "T4": 65,
    "B200": 2250, "RTX 6000 Ada": 364, "RTX 4090": 165, "RTX 4080": 97, "RTX 3090": 71, "RTX A6000": 155, "RTX 5090": 210,
}  # fmt: skip


def table_peak(name):
    fitting = [key for key in PEAKS if key in name]
    return PEAKS[max(fitting, key=len)] * 1e12 if fitting else None


def lines_of(text):
    found = []
    for line in text.splitlines():
        if line.startswith("{"):
            found.append(json.loads(line))
    return found


def measured(command, limit, environment=None):
    """Lines of JSON, those of a program too that did not reach its end."""
    try:
        return lines_of(run(command, limit, environment)), ""
    except Failed as failure:
        rows = lines_of(getattr(failure, "output", "") or "")
        if not rows:
            raise
        return rows, str(failure)


def bench(tool, model, device, works, batches, seconds, limit, environment=None):
    command = [*tool, model, *device, "--bench", "--works", works, "--batches", batches, "--seconds", str(seconds)]
    rows, note = measured(command, limit, environment)
    if note:
        print(f"  not complete: {note}")
    return rows


def torch_bench(shape, works, batches, device, limit):
    script = os.path.join(os.path.dirname(__file__), "torch_peer.py")
    rows, note = measured([sys.executable, script, shape, works, batches, device], limit)
    if note:
        print(f"  not complete: {note}")
    return rows


def torch_peak(device, limit):
    script = os.path.join(os.path.dirname(__file__), "torch_peer.py")
    return lines_of(run([sys.executable, script, "peak", device], limit))[0]


def row_text(row, peak):
    share = f"{100 * row['flop'] / (row['ms'] / 1e3) / peak:5.1f} %" if peak and row.get("flop") else "      -"
    return f"  {row['work']:<14} batch {row['batch']:>3}  {row['itemsPerSecond']:>10.2f}/s  {row['ms']:>10.1f} ms  {share} of the f16 peak"


def stages_text(row):
    total = sum(stage["ms"] for stage in row["stages"])
    parts = sorted(row["stages"], key=lambda stage: -stage["ms"])[:8]
    rest = row["profiledMs"] - total
    listed = ", ".join(f"{part['stage']} {100 * part['ms'] / row['profiledMs']:.0f} %" for part in parts)
    return f"    {listed}, between them {100 * rest / row['profiledMs']:.0f} %"


def print_rows(rows, peak):
    for row in rows:
        if "note" in row:
            print(f"  {row['note']}")
        elif "work" in row:
            print(row_text(row, peak))
            if row.get("stages"):
                print(stages_text(row))

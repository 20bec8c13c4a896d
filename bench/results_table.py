#!/usr/bin/env python3
"""Puts a result file of bench/versus_llama.sh (by default the newest one) as a table into docs/performance.md, between
its two markers.

  bench/results_table.py [CSV]
"""
import csv
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/performance.md"
BEGIN, END = "<!-- results: made by bench/results_table.py -->", "<!-- end of results -->"


def table(lines):
    first = lines[0]
    commits = ", ".join(dict.fromkeys(line["commit"] for line in lines))  # a file that was gone on with has several
    text = [f"{first['processor']}, {first['isa'] or 'unknown tier'}, {first['threads']} threads; facet {commits}, {first['peer']}, {first['date']}.", "",
            "| row | facet | llama.cpp | ratio | least to most | bound | of bound |", "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for line in lines:
        share = f"{100 * float(line['ours']) / float(line['bound']):.0f} %" if line["bound"] else ""
        bound = f"{line['bound']} ({line['bound_by']})" if line["bound"] else ""
        unit = " s" if line["unit"] == "s" else ""
        text.append(f"| {line['row']} | {line['ours']}{unit} | {line['theirs']}{unit} | {float(line['ratio']):.2f} | {float(line['ratio_min']):.2f} to {float(line['ratio_max']):.2f} | {bound} | {share} |")
    return "\n".join(text)


def main():
    results = sorted((ROOT / "bench/results").glob("*.csv"), key=lambda path: (path.name[:10], path.stat().st_mtime))
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else results[-1] if results else sys.exit("results_table: bench/results has no CSV file")
    with open(path, newline="") as file:
        lines = list(csv.DictReader(file))
    if not lines:
        sys.exit(f"results_table: {path} has no rows")
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"results_table: {PAGE} lacks the markers {BEGIN} and {END}")
    PAGE.write_text(f"{before}{BEGIN}\n{table(lines)}\n{END}{after}")


if __name__ == "__main__":
    main()

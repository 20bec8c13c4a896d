#!/usr/bin/env bash
# facet quantize against llama-quantize: a file of 2.1 GB in F16 to Q4_K_M, two threads each, in turns; prints the
# seconds of ours and theirs, the ratio (median, least, most), and the most memory that each took.
#
#   bench/versus_llama_quantize.sh [ROUNDS] [TYPE]     default: 5 rounds, Q4_K_M
#
# Needs build/release/facet and the peer (tools/peer.sh). The input comes from tools/make_synthetic_model; it and the
# outputs live in a folder under ${TMPDIR:-/tmp} (6 GB) that is removed at the end. FACET_BENCH_FOLDER keeps the input
# there for the next time. Ours ends when the file is on the disk (a name that appears means a whole file); theirs leaves
# that to the system, so it is also shown with the seconds until then.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
rounds=${1:-5}
type=${2:-Q4_K_M}
facet=${FACET_PROGRAM:-$root/build/release/facet}
peer=$("$root/tools/peer.sh" --path) || { echo "versus_llama_quantize.sh: the peer is not built; tools/peer.sh builds it" >&2; exit 1; }
[[ -x $facet ]] || { echo "versus_llama_quantize.sh: $facet is not built" >&2; exit 1; }
[[ $rounds =~ ^[1-9][0-9]*$ ]] || { sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2; }

work=$(mktemp -d "${TMPDIR:-/tmp}/facet-bench-XXXXXX")
trap 'rm -rf "$work"' EXIT
inputs=${FACET_BENCH_FOLDER:-$work}
mkdir -p "$inputs"
source=$inputs/synthetic-f16.gguf
if [[ ! -f $source ]]; then
  "$root/tools/make_synthetic_model" "$work/model" >&2
  "$facet" convert "$work/model" "$source" --type f16 >&2
  rm -rf "$work/model"
fi
cat "$source" >/dev/null # in the page cache, for both

# timed NAME command…: appends "seconds, KiB, seconds until all is on the disk" to $work/NAME.
timed() {
  local name=$1 begin
  shift
  sync
  begin=${EPOCHREALTIME/[.,]/}
  /usr/bin/time -f '%e %M' -o "$work/time" "$@" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
  sync
  echo "$(tail -n 1 "$work/time") $((${EPOCHREALTIME/[.,]/} - begin))e-6" >>"$work/$name"
}
for ((round = 0; round < rounds; ++round)); do
  timed ours "$facet" quantize "$source" "$work/ours.gguf" "$type" -t 2 --force
  timed theirs "$peer/llama-quantize" "$source" "$work/theirs.gguf" "$type" 2
  rm -f "$work/theirs.gguf"
done

python3 - "$work" "$source" "$type" <<'PYTHON'
import pathlib
import statistics
import sys

work, source, kind = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
rows = {name: [tuple(map(float, line.split())) for line in (work / name).read_text().splitlines()] for name in ("ours", "theirs")}
print(f"{source.stat().st_size / 1e9:.2f} GB F16 -> {kind}, 2 threads, {len(rows['ours'])} rounds in turns")


def spread(values):
    return f"{statistics.median(values):7.2f} ({min(values):.2f} to {max(values):.2f})"


for name, found in rows.items():
    print(f"{name:8}{spread([row[0] for row in found])} s, on the disk after{spread([row[2] for row in found])} s; at most {max(row[1] for row in found) / 1024:.0f} MiB resident")
for column, what in ((0, "theirs / ours: above 1, ours is faster"), (2, "until all is on the disk")):
    print(f"ratio   {spread([theirs[column] / ours[column] for ours, theirs in zip(rows['ours'], rows['theirs'])])} {what}")
PYTHON

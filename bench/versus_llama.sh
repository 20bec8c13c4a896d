#!/usr/bin/env bash
# Sets facet against llama.cpp on the same files on this machine, round by round in turns, and writes what each reached
# and what the machine would allow into bench/results/; the table of docs/performance.md is made from it.
#
#   bench/versus_llama.sh            all rows that are not in the result file yet; stops after 40 minutes
#   bench/versus_llama.sh --quick    Gemma 4 E2B Q4_0 and Gemma 3 270M: pp512 and tg32; at most 10 minutes
#   bench/versus_llama.sh --list     the names of the rows
#   bench/versus_llama.sh --only 'e2b.*/tg'    rows whose name matches
#   bench/versus_llama.sh --file e2b-q4_0=gemma-4-E2B-it-Q4_0.gguf     a file of your own in place of a random one
#   bench/versus_llama.sh --help     the other options
#
# A run that was stopped goes on where it was. The peer is built by tools/peer.sh. Models of random weights are written
# once into ${FACET_CACHE:-~/.cache/facet}/bench by tools/reference/synthetic_gguf.py (FACET_GENERATOR names another),
# with the vocabulary that the peer's source carries (FACET_VOCABULARY names another GGUF file). They take 32 GB in all;
# rows whose file finds no room are left out.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

case " $* " in
  *' --list '* | *' --help '* | *' -h '*) exec python3 "$root/bench/versus_llama.py" "$@" ;;
esac

program=${FACET_PROGRAM:-$root/build/release/facet}
if [[ -z ${FACET_PROGRAM:-} ]]; then
  [[ -f $root/build/release/build.ninja ]] || (cd "$root" && cmake --preset release >/dev/null)
  ninja -C "$root/build/release" facet_program >&2
fi
peer=$("$root/tools/peer.sh" --path) || peer=$("$root/tools/peer.sh")
FACET_PROGRAM=$program PEER=$peer exec python3 "$root/bench/versus_llama.py" "$@"

#!/usr/bin/env bash
# Builds the peer that facet is compared with, llama.cpp v0.5.0, once, outside the tree; prints the folder of its programs.
#
#   tools/peer.sh             fetch and build what is missing (15 to 20 minutes on two cores)
#   tools/peer.sh --path      print the folder, whether it is built or not; exit status 1 where it is not
#
# The source comes as a git bundle in npm's package node-llama-cpp@3.22.1, so that no other host is needed; the package
# is checked against its SHA-256. Everything lives in ${FACET_CACHE:-~/.cache/facet}/peer. Beside the peer's own programs
# there is peer_logits (tools/peer/logits.cc): all logits of a list of tokens, through the peer's library.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
package=node-llama-cpp-3.22.1.tgz
package_sha256=a0d9dd80eacd2ab1cfe71aee57ac8a806487fd70b3d2a38fbec637752d9e5c5f
programs=(llama-quantize llama-tokenize llama-bench llama-perplexity llama-imatrix llama-completion llama-batched-bench
  llama-gguf-split llama-server)

cache=${FACET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/facet}
folder=$cache/peer
bin=$folder/llama.cpp/build/bin

case ${1:-} in
  '') ;;
  --path)
    echo "$bin"
    [[ -x $bin/peer_logits ]]
    exit
    ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

say() { echo "peer.sh: $*" >&2; }
for program in git cmake ninja g++ curl; do
  command -v "$program" >/dev/null || { say "$program is missing; tools/install_packages check installs it"; exit 1; }
done

mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9 # two builds at once would disturb each other
cd "$folder"

fetch() {
  local registry
  registry=$(npm config get registry 2>/dev/null || true)
  [[ $registry == http* ]] || registry=https://registry.npmjs.org/
  say "fetching $package (36 MB)"
  curl -fsSL --retry 3 -C - -o "$package.part" "${registry%/}/node-llama-cpp/-/$package" ||
    { say "cannot fetch ${registry%/}/node-llama-cpp/-/$package"; exit 1; }
  echo "$package_sha256  $package.part" | sha256sum --check --quiet ||
    { rm -f "$package.part"; say "$package has another SHA-256 than $package_sha256; removed"; exit 1; }
  mv "$package.part" "$package"
}
if [[ ! -d llama.cpp/src ]]; then
  [[ -f $package ]] || fetch
  tar xzf "$package" package/llama/gitRelease.bundle
  rm -rf llama.cpp llama.cpp.part
  git -c advice.detachedHead=false clone -q package/llama/gitRelease.bundle llama.cpp.part
  mv llama.cpp.part llama.cpp
  rm -rf package
fi

cd llama.cpp
log=$folder/build.log
say "building in $PWD (see $log)"
launcher=()
if command -v ccache >/dev/null; then launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
{
  cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DGGML_OPENMP=OFF -DGGML_CCACHE=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_SERVER=ON -DLLAMA_BUILD_UI=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_CURL=OFF "${launcher[@]}" &&
    nice -n 10 ninja -C build -j "${JOBS:-$(nproc)}" "${programs[@]}" &&
    g++ -O2 -std=c++17 -Iinclude -Iggml/include "$root/tools/peer/logits.cc" -o build/bin/peer_logits \
      -Lbuild/bin -lllama -lggml -lggml-cpu -lggml-base -Wl,-rpath,"$PWD/build/bin"
} >"$log" 2>&1 || { tail -n 30 "$log" >&2; say "building the peer failed"; exit 1; }
echo "$bin"

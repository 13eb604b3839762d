#!/usr/bin/env bash
# The first minutes on an NVIDIA machine: peaks, matrix products beside torch.matmul, the training
# step beside PyTorch's, and last the ratios. It needs the built binary and the Vulkan loader;
# where python3 with torch is missing, only vkdomino's figures. A part that fails is reported, and
# the others go on. Under 8 minutes: every part has a time limit. One that runs into it is started
# once more, since kernels that were compiled and measured stay so. Without --toy it needs a GPU.
#
#   tools/bench-nvidia/run.sh [--toy] [--binary ./vkdomino] [--python python3] [--out DIR] [--device N]
set -u
here=$(cd "$(dirname "$0")" && pwd)
binary=./vkdomino python=python3 out= device=-1
preset=specforge shapes=qwen3-8b runs=10 threads=0
while [ $# -gt 0 ]; do
	case $1 in
	--toy) preset=toy shapes=toy runs=20 threads=1 ;;
	--binary) binary=$2; shift ;;
	--python) python=$2; shift ;;
	--out) out=$2; shift ;;
	--device) device=$2; shift ;;
	*) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
	esac
	shift
done
if [ -z "$out" ]; then out=$(mktemp -d "${TMPDIR:-/tmp}/bench-nvidia.XXXXXX"); fi
mkdir -p "$out" || exit 1
started=$SECONDS
failed=""

# part NAME SECONDS COMMAND…: runs one part, keeps what it prints, and remembers a failure.
part() {
	local name=$1 limit=$2 code
	shift 2
	echo "== $name: $*"
	: >"$out/$name.txt"
	for try in 1 2; do
		timeout -k 5 "$limit" "$@" 2>&1 | tee -a "$out/$name.txt"
		code=${PIPESTATUS[0]}
		[ "$code" = 0 ] && return
		case $code in 124 | 137) ;; *) break ;; esac
		echo "== $name: stopped after $limit s, try $try of 2"
	done
	failed="$failed $name"
	echo "== $name: failed with code $code"
}

# gpu: the number of a GPU in doctor's list that can be used, --device's where that is given.
gpu() {
	awk -v want="$device" '
		/^device [0-9]+:/ { n = $2 + 0; if ($0 !~ /\(cpu\)$/ && (want < 0 || want == n)) usable[n] = 1 }
		/cannot be used/ { delete usable[n] }
		END { for (n in usable) { print n; exit } }' "$out/device.txt"
}

part device 20 "$binary" doctor
if [ "$preset" != toy ] && [ -z "$(gpu)" ]; then
	echo "== no GPU to measure, and the shapes are too large for a CPU: start the container with NVIDIA_DRIVER_CAPABILITIES=all, or install the driver's Vulkan package (libnvidia-gl-…); --toy tries small shapes on what there is" >&2
	exit 1
fi
command -v nvidia-smi >/dev/null && part nvidia-smi 20 nvidia-smi
part peak 30 "$binary" bench peak --device "$device" --json "$out/peak.json"
part gemm 90 "$binary" bench gemm --shapes "$shapes" --device "$device" --json "$out/gemm.json"
torch=no
if "$python" -c 'import torch' 2>"$out/torch.txt"; then torch=yes; else echo "== no torch for $python: $(tail -n 1 "$out/torch.txt")"; fi
[ $torch = yes ] && part torch_gemm 60 "$python" "$here/torch_gemm.py" --shapes "$shapes" --json "$out/torch_gemm.json"
part step 110 "$binary" bench step --preset "$preset" --runs $runs --device "$device" --json "$out/step.json"
[ $torch = yes ] && part torch_step 120 "$python" "$here/torch_step.py" --preset "$preset" --runs $runs --threads $threads --json "$out/torch_step.json"

echo "== results, also in $out ($((SECONDS - started)) s)"
if command -v "$python" >/dev/null; then "$python" "$here/compare.py" "$out"; fi
if [ -n "$failed" ]; then echo "parts that failed:$failed"; exit 1; fi

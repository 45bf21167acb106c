#!/usr/bin/env bash
# One command on the GPU machine: run.sh PART ...; PYTHONPATH holds vLLM 0.26 and what the services need.
# Results go to $OUT as JSON lines, with the logs of the services.
set -uo pipefail
cd "$(dirname "$0")"
export HF_HUB_OFFLINE=1 VLLM_LOGGING_LEVEL=WARNING TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1 VLLM_NO_USAGE_STATS=1
export VLLM_USE_FLASHINFER_SAMPLER=0 # flashinfer is not on the machine
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 # sixteen BLAS threads a process spin for matrices of a millisecond
work=${WORK:-/tmp/argo-bench}
mkdir -p "$work"
root=$(cd ../../.. && pwd)

model() { # shape
  [ -d "$work/$1" ] || python3 shape.py "$work/$1" --shape "$1" --documents "$root/examples/oran" >&2
  echo "$work/$1"
}

stack() { # label shape options levels [more]
  local label=$1 shape=$2 options=$3 levels=$4
  shift 4
  rm -rf "$work/run" # sessions and index of the rung before
  PYTHONPATH=$root:${PYTHONPATH:-} timeout "${LIMIT:-400}" python3 stack.py --model "$(model "$shape")" --label "$label" \
    --options "$options" --levels "$levels" --work "$work/run" --out "$OUT/stack.jsonl" "$@"
  local status=$?
  ((status == 0)) || { echo "stack $label: exit $status"; tail -qc 1500 "$work"/run/{decomposer,synthesizer,orchestrator}.log | grep -v Capturing; }
  cat "$work"/run/*.log | tr '\r' '\n' | grep -v Capturing >"$OUT/log-$label.txt"
}

bare() { # label shape options levels [more]
  local label=$1 shape=$2 options=$3 levels=$4
  shift 4
  timeout "${LIMIT:-400}" python3 bare.py --model "$(model "$shape")" --label "$label" --options "$options" \
    --levels "$levels" --out "$OUT/bare.jsonl" "$@" 2>&1 | grep -v "Warning\|WARN\|Capturing" | tail -8
}

predecessor() { timeout "${LIMIT:-400}" python3 predecessor.py --out "$OUT/predecessor.jsonl" "$@" 2>&1 | tail -6; }

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee -a "$OUT/gpu.txt"
python3 -c 'import vllm, torch, transformers; print(vllm.__version__, torch.__version__, transformers.__version__)' 2>/dev/null | tee -a "$OUT/gpu.txt"
"$@"

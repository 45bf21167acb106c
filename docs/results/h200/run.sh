#!/usr/bin/env bash
# One command on the GPU machine, from the root of the checkout:
#
#   bash docs/results/h200/run.sh predecessor [--repeats 3 ...]
#   bash docs/results/h200/run.sh ladder RUNG ... [--limit-s 470 ...]
#   bash docs/results/h200/run.sh choice --rows ROWS.jsonl [--strategy single_shot ...]
#
# SITE holds vLLM 0.26 and what the services need; results go to $OUT as JSON lines, with the ends of the logs.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
site=${SITE:-$HOME/site}
export PYTHONPATH=$root:$here:$site${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_LOGGING_LEVEL=${VLLM_LOGGING_LEVEL:-WARNING}
export TOKENIZERS_PARALLELISM=false VLLM_USE_FLASHINFER_SAMPLER=0 # flashinfer is not packed
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 # BLAS threads spin for matrices of a millisecond
export NCCL_NVLS_ENABLE=0 TORCH_SYMM_MEM_DISABLE_MULTICAST=1 NVSHMEM_DISABLE_NVLS=1
python=${PYTHON:-python3}
out=${OUT:?where the results go}
what=$1
shift
work=${WORK:-/tmp/argo-ladder}/$what-$$
case $what in
predecessor) exec "$python" "$here/predecessor.py" --out "$out/predecessor.jsonl" "$@" ;;
ladder) exec "$python" "$here/ladder.py" --work "$work" --out "$out/ladder.jsonl" "$@" ;;
choice) exec "$python" "$here/multiple_choice.py" --work "$work" --out "$out/choice.jsonl" "$@" ;;
*) echo "what must be predecessor, ladder or choice, got $what" >&2; exit 2 ;;
esac

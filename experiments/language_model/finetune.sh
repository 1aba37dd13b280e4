#!/usr/bin/env bash
# The published fine-tuning runs: four target sets, two losses. Run it again to resume after an interruption.
# Usage: finetune.sh MODEL DATA OUT [flags of `lsa-jax lm finetune`, for example --dry-run or --reasoning FILE]
set -euo pipefail
model=$1 data=$2 out=$3
shift 3
for loss in zero_shot mixture; do
  for targets in qkv v q k; do
    lsa-jax lm finetune --model "$model" --data "$data" --out "$out/$targets-$loss" --targets "$targets" --loss "$loss" \
      --rank 128 --alpha 256 --learning-rate 1e-5 --epochs 5 --steps 100 --batch-size 10 --checkpoint-every 20 "$@"
  done
done

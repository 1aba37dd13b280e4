#!/usr/bin/env bash
# Letter log-likelihoods of the base model and of all checkpoints of finetune.sh, then the figure.
# Usage: evaluate.sh MODEL DATA OUT [flags of `lsa-jax lm evaluate`, for example --format plain or --checkpoints last]
set -euo pipefail
model=$1 data=$2 out=$3
shift 3
runs=("$out"/{qkv,v,q,k}-{zero_shot,mixture})
lsa-jax lm evaluate "${runs[@]}" --model "$model" --data "$data" --out "$out/records" "$@"
lsa-jax lm figure "$out/records" --shots 5

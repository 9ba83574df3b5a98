#!/bin/sh
# The main job in a new folder: upload, fetch, compare, audit, and prove it offline.
# usage: main-job.sh [SOURCE]; without SOURCE a small checkpoint is made.
set -eu
folder=$(mktemp -d)
source=${1:-}
if [ -z "$source" ]; then
  source=$folder/made/model.safetensors
  mkdir -p "$folder/made"
  python3 - "$source" <<'PYTHON'
import sys
import numpy as np
from safetensors.numpy import save_file

weights = np.random.default_rng(1).normal(0, 0.02, (1024, 1024)).astype(np.float16)
save_file({"weights": weights}, sys.argv[1])
PYTHON
fi
case $source in /*) ;; *) source=$PWD/$source ;; esac
cd "$folder"
trap 'datanode localnet stop; rm -rf "$folder"' EXIT
datanode localnet start --detach --port 0
datanode node create main
datanode plan "$source"
datanode upload "$source" --as demo
datanode upload "$source" --as demo # sends nothing
datanode fetch demo back
if [ -f "$source" ]; then cmp "$source" "back/$(basename "$source")"; fi
datanode audit demo --report audit.json
datanode audit --verify audit.json

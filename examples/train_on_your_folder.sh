#!/usr/bin/env bash
# Train a model on photographs and videos of your own, and upscale a clip with it.
# Goes on from the bundled weights. Run it in a checkout, with upframe[train] installed.
#
#     examples/train_on_your_folder.sh ~/Pictures clip.mp4 large.mp4 [--set key=value]...
set -euo pipefail
own=$1
clip=$2
target=$3
shift 3
root=$(cd "$(dirname "$0")/.." && pwd)
python "$root/scripts/make_pack.py" "$own" -o data
upframe train "$root/recipes/mia-vsr-xs.yaml" --data data --resume auto \
    --set init=mia-vsr-xs --set data.val=null "$@"
upframe "$clip" -o "$target" --model runs/mia-vsr-xs/last.ckpt

#!/usr/bin/env bash
# Let ffmpeg decode, filter and encode, and upframe upscale between them, without a file
# in the middle. Y4M carries size, frame rate and pixel format; `-` is stdin and stdout.
#
#     examples/ffmpeg_pipes.sh clip.mp4 large.mkv
set -euo pipefail
source=$1
target=$2
ffmpeg -v error -i "$source" -vf hqdn3d -f yuv4mpegpipe - |
    upframe - -o - --preset fast --quiet |
    ffmpeg -v error -y -f yuv4mpegpipe -i - -i "$source" -map 0:v -map '1:a?' \
        -c:v libx264 -crf 18 -c:a copy "$target"

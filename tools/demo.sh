#!/bin/sh
# usage: demo.sh ENVIRONMENT
# The main job, on real elevations that ship with Matplotlib.
set -eu
mkdir -p demo-output
"$1/bin/gridgrad" gradient sample:terrain demo-output/terrain-gradient.npz \
    --plot demo-output/terrain.png --force
echo
echo "The picture is $(pwd)/demo-output/terrain.png"

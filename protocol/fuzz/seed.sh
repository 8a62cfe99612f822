#!/bin/sh
# Copies the golden files into the corpus of the target that reads them.
set -eu
cd "$(dirname "$0")"
golden=../tests/golden/v1
seed() {
    target=$1
    shift
    mkdir -p "corpus/$target"
    cp "$@" "corpus/$target/"
}
seed frame "$golden"/frame_*.bin
seed descriptor "$golden"/descriptor.bin "$golden"/signed_descriptor.bin
seed exchange "$golden"/control_*.bin
seed gossip "$golden"/heartbeat_*.bin
seed feature_map "$golden"/feature_map.bin

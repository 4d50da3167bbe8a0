#!/usr/bin/env bash
# Generates the Python stubs of the contract. They are not checked in.
#
# Usage: ./generate.sh [FOLDER]     (default: generated, next to this script)
# Needs: pip install -r requirements.txt; PYTHON names another interpreter than python3.

set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$here/../.."
out="${1:-$here/generated}"

mkdir -p "$out"
# googleapis-common-protos contains Google's types, so only ours are compiled.
"${PYTHON:-python3}" -m grpc_tools.protoc \
    --proto_path="$root/proto" --proto_path="$root/third_party/proto" \
    --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" \
    "$root"/proto/contact/v1/*.proto

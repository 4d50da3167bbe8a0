# shellcheck shell=bash
# Copies built executables, so that a concurrent build does not change a measurement. Sourced.

# Reads cargo's messages. Usage: take_executables FOLDER KIND NAME...
take_executables() {
    python3 -c 'import json, shutil, sys
folder, kind, *names = sys.argv[1:]
built = [json.loads(line) for line in sys.stdin]
for name in names:
    paths = [message["executable"] for message in built
        if message["reason"] == "compiler-artifact" and message["executable"]
        and message["target"]["name"] == name and message["target"]["kind"] == [kind]]
    if not paths:
        sys.exit(f"cargo built no {name}")
    shutil.copy(paths[-1], f"{folder}/{name}")' "$@"
}

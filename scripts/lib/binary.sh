# shellcheck shell=bash
# Finds the service's binary for scripts that start it. Sourced.

# shellcheck source-path=SCRIPTDIR source=tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

# Prints the path of the binary: CONTACT_SERVICE_BIN, or a new build.
find_binary() {
    local built
    if [[ -n "${CONTACT_SERVICE_BIN:-}" ]]; then
        [[ -x "$CONTACT_SERVICE_BIN" ]] || die "CONTACT_SERVICE_BIN is not an executable file"
        echo "$(cd "$(dirname "$CONTACT_SERVICE_BIN")" && pwd)/$(basename "$CONTACT_SERVICE_BIN")"
        return
    fi
    need_rust
    need_python
    # Built with the tests, so that shared dependencies are built once.
    built="$(cd "$repo_root" && cargo build --locked --bins --tests \
        --message-format=json-render-diagnostics |
        python3 -c 'import json, sys
for message in map(json.loads, sys.stdin):
    if message["reason"] != "compiler-artifact" or message["profile"]["test"]:
        continue
    if message["target"]["kind"] == ["bin"]:
        print(message["executable"])')" || die "contact-service could not be built"
    [[ -n "$built" ]] || die "cargo built no contact-service"
    echo "$built"
}

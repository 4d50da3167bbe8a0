# shellcheck shell=bash
# Paths and output functions of all scripts. Sourced.

repo_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cache_dir="${CONTACT_SERVICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/contact-service}"
export repo_root cache_dir

# Prints a heading, on stderr, so that the last line of stdout is that of the tests.
headline() { printf '\n== %s\n' "$*" >&2; }

# Prints an error in one line and exits.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Prints a free loopback port below the ephemeral range.
free_port() {
    local port
    for _ in {1..100}; do
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    die "found no free port on 127.0.0.1"
}

# Waits until a process is gone. Usage: wait_gone PID SECONDS
wait_gone() {
    local tries=$(($2 * 10))
    while kill -0 "$1" 2>/dev/null; do
        ((tries-- > 0)) || return 1
        sleep 0.1
    done
}

# Prints the version in Cargo.toml.
service_version() { sed -n '0,/^version = /s/^version = "\(.*\)"/\1/p' "$repo_root/Cargo.toml"; }

# Prints the time of the commit, in seconds since 1970.
commit_time() { git -C "$repo_root" log -1 --format=%ct; }

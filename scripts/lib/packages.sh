# shellcheck shell=bash
# Packs what a release holds besides the binary and the image: the chart, the contract, stubs for npm,
# PyPI and Maven, the notices and the bill of materials. Sourced; uses its `work` and `out`, and the
# commit's files in $work/source. The same files always give the same bytes.
# shellcheck disable=SC2154 # set by scripts/release

# shellcheck source-path=SCRIPTDIR source=chart.sh
source "$(dirname "${BASH_SOURCE[0]}")/chart.sh"
# shellcheck source-path=SCRIPTDIR source=stubs.sh
source "$(dirname "${BASH_SOURCE[0]}")/stubs.sh"

templates="$repo_root/scripts/lib/packages"
# pyproject.toml requires at least the runtime of the generator.
python_packers=(build==1.6.1 hatchling==1.33.0 grpcio-tools==1.76.0)

need_packers() {
    need_rust
    need_buf
    need_node
    need_helm
    need_cargo_cyclonedx
    need_venv "$cache_dir/python-release" "${python_packers[@]}" ||
        die "the Python packages ${python_packers[*]} could not be installed"
    python="$cache_dir/python-release/bin/python"
    need_node_modules "$cache_dir/node-stubs" "$clients_dir/typescript" ||
        die "the Node packages of tests/clients/typescript could not be installed"
    have javac || apt_install default-jdk-headless || die "javac is missing; install a JDK of at least 17"
    need_packages "${java_packages[@]}" || die "missing and not installable with apt: $missing"
}

# Packs entries of a folder, with the commit's time as that of every file; the name says whether they are
# compressed. Usage: pack FILE FOLDER ENTRY...
pack() {
    local pipe=(gzip -9n)
    [[ "$1" == *gz ]] || pipe=(cat)
    tar --create --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 \
        --numeric-owner --mode=u=rwX,go=rX -C "$2" "${@:3}" | "${pipe[@]}" >"$1"
}

# Copies a template and enters the version. Usage: from_template NAME FOLDER
from_template() {
    mkdir -p "$2"
    sed "s/@VERSION@/$version/" "$templates/$1" >"$2/$1"
}

# Usage: copy_licenses FOLDER
copy_licenses() { cp "$work"/source/LICENSE-{APACHE,MIT} "$1"; }

# The chart, with the image's name, and its digest unless only packages are built.
# Usage: pack_chart NAME_OF_THE_IMAGE DIGEST
pack_chart() {
    local folder="$work/chart/contact-service" registry="" repository="$1" file
    # A registry has a dot or a port.
    [[ ! "$1" =~ ^([^/]*[.:][^/]*)/(.+)$ ]] || registry="${BASH_REMATCH[1]}" repository="${BASH_REMATCH[2]}"
    mkdir -p "$work/chart"
    cp -R "$work/source/helm" "$folder"
    # The table in README.md has the defaults as well.
    sed -i -E -e "/^image:/,/^[^ i]/{s|^(  registry:).*|\1 \"$registry\"|;s|^(  repository:).*|\1 $repository|
        s|^(  digest:).*|\1 \"$2\"|}" "$folder/values.yaml"
    sed -i -E -e "s#^(\| .image\.registry. \| .\").*(\". \| )#\1$registry\2#" \
        -e "s#^(\| .image\.repository. \| .\").*(\". \| )#\1$repository\2#" \
        -e "s#^(\| .image\.digest. \| .\").*(\". \| )#\1$2\2#" "$folder/README.md"
    file="$out/contact-service-$(sed -n 's/^version: //p' "$folder/Chart.yaml").tgz"
    pack "$file" "$work/chart" contact-service
    "$helm" template contact-service "$file" --values "$folder/examples/minimal.yaml" >"$work/manifests" ||
        die "the packed chart cannot be rendered"
    grep -qF "image: $1${2:+@$2}" "$work/manifests" || die "the packed chart does not name the image $1"
    echo "release: chart ok"
}

# The contract, with Google's files: `proto` and `third_party/proto` are the include paths.
pack_contract() {
    local name="contact-service-proto-$version"
    local folder="$work/contract/$name"
    mkdir -p "$folder/third_party"
    cp -R "$work/source/"{proto,buf.yaml} "$folder"
    cp -R "$work/source/third_party/proto" "$folder/third_party"
    copy_licenses "$folder"
    (cd "$folder" && buf build) >&2 || die "the packed contract cannot be compiled"
    pack "$out/$name.tar.gz" "$work/contract" "$name"
    echo "release: contract ok"
}

pack_npm() {
    local folder="$work/npm" plugin
    plugin='{"version": "v2", "plugins": [{"local": "protoc-gen-es", "out": ".",
        "opt": ["target=js+dts", "import_extension=js"]}]}'
    from_template package.json "$folder"
    cp "$templates/README.md" "$folder"
    copy_licenses "$folder"
    PATH="$cache_dir/node-stubs/node_modules/.bin:$PATH" generate typescript "$folder" "$plugin"
    cp "$work/source/proto/contact/v1/service_config.json" "$folder/contact/v1"
    # npm keeps the modes.
    chmod -R u=rwX,go=rX "$folder"
    (cd "$folder" && npm pack --silent --ignore-scripts --pack-destination "$out") >&2 ||
        die "npm packs no stubs"
    # Used as an application does.
    mkdir -p "$work/application/node_modules/contact-service-stubs"
    tar -xzf "$out/contact-service-stubs-$version.tgz" --strip-components=1 \
        -C "$work/application/node_modules/contact-service-stubs"
    ln -s "$cache_dir/node-stubs/node_modules/@bufbuild" "$work/application/node_modules"
    (cd "$work/application" && node --input-type=module -e '
        import { ContactService } from "contact-service-stubs/contact/v1/contact_service_pb.js";
        if (!ContactService.method.resolveRecipients) process.exit(1);') || die "npm: the stubs do not load"
    echo "release: npm package ok"
}

pack_pypi() {
    local folder="$work/pypi"
    from_template pyproject.toml "$folder"
    cp "$templates/README.md" "$folder"
    copy_licenses "$folder"
    PYTHON="$python" "$repo_root/examples/python/generate.sh" "$folder"
    cp "$work/source/proto/contact/v1/service_config.json" "$folder/contact/v1"
    touch "$folder/contact/v1/py.typed"
    "$python" -m build --no-isolation --outdir "$work/dist" "$folder" >"$work/log" 2>&1 ||
        die "pypi: $(tail -n 5 "$work/log")"
    cp "$work/dist/"* "$out"
    # With other releases of the libraries than those that generated the stubs.
    "$python" -m pip --quiet install --no-deps --no-index --target "$work/installed" "$work/dist/"*.whl >&2 &&
        PYTHONPATH="$work/installed" "$cache_dir/python-tests/bin/python" -c '
from contact.v1 import contact_service_pb2_grpc as stubs
assert stubs.ContactServiceStub' || die "pypi: the stubs cannot be imported"
    echo "release: PyPI packages ok"
}

# In the layout of a Maven repository.
pack_maven() {
    local folder="$out/maven/contact-service/contact-service-stubs/$version" name classpath date
    name="$folder/contact-service-stubs-$version"
    date="$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)"
    classpath="$(printf '/usr/share/java/%s.jar:' "${java_jars[@]}")"
    mkdir -p "$folder" "$work/java"/{classes,sources}/META-INF
    generate_with_debian java "$work/java/sources"
    find "$work/java/sources" -name '*.java' | sort >"$work/java/files"
    javac --release 11 -nowarn -proc:none -encoding UTF-8 -cp "$classpath" -d "$work/java/classes" \
        "@$work/java/files" 2>"$work/log" || die "java: the stubs do not compile: $(<"$work/log")"
    # Applications get Google's files from proto-google-common-protos.
    pack_jar() {
        copy_licenses "$1/META-INF"
        (cd "$1" && find META-INF contact -type f | LC_ALL=C sort >"$work/java/entries" &&
            jar --create --date="$date" --file="$2" "@$work/java/entries") || die "java: no $2"
    }
    pack_jar "$work/java/classes" "$name.jar"
    pack_jar "$work/java/sources" "$name-sources.jar"
    from_template pom.xml "$work/java"
    cp "$work/java/pom.xml" "$name.pom"
    # The client finds Google's classes, but not the stubs, outside of the jar.
    rm -r "$work/java/classes/contact"
    javac -nowarn -proc:none -cp "$name.jar:$work/java/classes:$classpath" -d "$work/java/client" \
        "$clients_dir/java/Recipients.java" 2>"$work/log" || die "java: the jar is incomplete: $(<"$work/log")"
    echo "release: Maven package ok"
}

# The licenses and the bill of materials of the binary: its crates, and the Debian packages whose status
# files are in $work/debian. Usage: pack_materials TARGET
pack_materials() {
    local file="$out/contact-service-$version.cdx.json"
    cp "$work/source/third_party/NOTICES.txt" "$out/THIRD-PARTY-NOTICES.txt"
    (cd "$work/source" && cargo cyclonedx --quiet --format json --spec-version 1.5 --describe binaries \
        --no-build-deps --target "$1") || die "cargo cyclonedx failed"
    mkdir -p "$work/debian"
    find "$work/debian" -type f -exec sed -n 's/^Package: //p; s/^Version: //p' {} \; | paste - - | sort |
        jq -R 'split("\t") | {type: "library", name: .[0], version: .[1],
            purl: "pkg:deb/debian/\(.[0])@\(.[1] | @uri)"}' | jq -s . >"$work/packages"
    jq --slurpfile packages "$work/packages" '.components += $packages[0]' \
        "$work/source/contact-service_bin.cdx.json" |
        sed "s|path+file://$work/source|path+file:///contact-service|" >"$file"
    jq -e '.metadata.component.version == $version and (.components | length > 100)' \
        --arg version "$version" "$file" >/dev/null || die "$file is incomplete"
    echo "release: bill of materials: $(jq '.components | length' "$file") components ok"
}

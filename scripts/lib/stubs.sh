# shellcheck shell=bash
# Generates stubs of all proto files for Python, Go, Java, TypeScript and C#, compiles them, and
# offers a client with each for `check` of scripts/clients, from tests/clients. Sourced; uses its
# `work`, `python` and `target`.
# A language without its tools is skipped, with the reason on stdout.
# shellcheck disable=SC2154 # set by scripts/clients

# shellcheck source-path=SCRIPTDIR source=tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

clients_dir="$repo_root/tests/clients"

# Debian's packages: stubs must fit the libraries that they are compiled with.
go_packages=(golang-go protoc-gen-go protoc-gen-go-grpc golang-google-grpc-dev
    golang-google-protobuf-dev golang-github-golang-protobuf-1-5-dev)
java_packages=(protobuf-compiler protobuf-compiler-grpc-java-plugin libgrpc-java libnetty-java
    libprotobuf-java libguava-java libperfmark-java libgeronimo-annotation-1.3-spec-java)
java_jars=(grpc-{api,context,core,netty,protobuf,protobuf-lite,stub} guava perfmark-api protobuf
    netty-{buffer,codec,codec-http,codec-http2,common,handler,resolver,transport}
    geronimo-annotation-1.3-spec)

# Languages whose client can be called.
stub_languages=()
java_classpath=""
# The example as Maven builds it.
java_jar=""

# Generates and compiles all stubs.
generate_stubs() {
    local language
    generate_python
    for language in go java typescript; do
        ! "generate_$language" || stub_languages+=("$language")
    done
    build_java_example
    generate_csharp
}

# Usage: skip WHAT REASON
skip() { echo "clients: $1 skipped: $2"; }

# Usage: generate LANGUAGE FOLDER [TEMPLATE]     (template: default the language's buf.gen.yaml)
generate() {
    (cd "$repo_root" && buf generate -o "$2" --template "${3:-$clients_dir/$1/buf.gen.yaml}") >&2 ||
        die "$1: the stubs cannot be generated"
}

# The same with the plugins and protoc of Debian, also if there are others.
generate_with_debian() { PATH="/usr/bin:$PATH" generate "$@"; }

# --- Python: the examples use these stubs ----------------------------------------------------

generate_python() {
    PYTHON="$python" "$repo_root/examples/python/generate.sh" "$work/stubs"
    # Applications get Google's files from googleapis-common-protos.
    mkdir "$work/google"
    (cd "$repo_root/third_party/proto" &&
        "$python" -m grpc_tools.protoc --proto_path=. --python_out="$work/google" \
            --pyi_out="$work/google" google/api/*.proto google/rpc/*.proto &&
        "$python" -m compileall -q "$work/google") || die "python: Google's files do not compile"
    (cd "$work/stubs" && "$python" -c 'import importlib, pathlib
for path in pathlib.Path("contact/v1").glob("*.py"):
    importlib.import_module(f"contact.v1.{path.stem}")') || die "python: the stubs cannot be imported"
    echo "clients: python stubs import ok"
}

# --- Go --------------------------------------------------------------------------------------

generate_go() {
    local missing
    need_packages "${go_packages[@]}" || { skip go "no $missing" && return 1; }
    generate_with_debian go "$work/go/src"
    mkdir "$work/go/src/recipients"
    cp "$clients_dir/go/main.go" "$work/go/src/recipients"
    # In GOPATH mode, in which Debian's sources are used.
    (cd "$work/go/src" &&
        GO111MODULE=off GOFLAGS="" GOPATH="$work/go:/usr/share/gocode" GOCACHE="$cache_dir/go-build" \
            /usr/bin/go build -trimpath -o "$work/go/bin/" ./...) >&2 ||
        die "go: the stubs or the client do not compile"
    echo "clients: go stubs compile ok"
}

call_go() { CONTACT_SERVICE_TOKEN="$2" "$work/go/bin/recipients" "$target" "$1"; }

# --- Java ------------------------------------------------------------------------------------

generate_java() {
    local missing
    have javac || apt_install default-jdk-headless || true
    have javac || { skip java "no javac" && return 1; }
    need_packages "${java_packages[@]}" || { skip java "no $missing" && return 1; }
    java_classpath="$work/java/classes$(printf ':/usr/share/java/%s.jar' "${java_jars[@]}")"
    generate_with_debian java "$work/java/src"
    cp "$clients_dir/java/Recipients.java" "$work/java/src"
    # The example in Java is compiled with the same stubs, also where no Maven repository is reached.
    find "$work/java/src" "$repo_root/examples/java/src" -name '*.java' >"$work/java/files"
    javac -nowarn -proc:none -encoding UTF-8 -cp "$java_classpath" -d "$work/java/classes" \
        "@$work/java/files" 2>"$work/java/log" ||
        die "java: the stubs, the client or the example do not compile: $(<"$work/java/log")"
    echo "clients: java stubs compile ok"
}

# Builds examples/java with its own pom.xml, next to a copy of the contract.
build_java_example() {
    local folder="$work/maven/examples/java"
    have mvn || { skip "java (Maven)" "no mvn" && return; }
    have javac || { skip "java (Maven)" "no javac" && return; }
    mkdir -p "$folder"
    cp -R "$repo_root/examples/java/"{pom.xml,src} "$folder"
    ln -s "$repo_root/proto" "$work/maven/proto"
    if (cd "$folder" && mvn -B -q package) >"$work/maven/log" 2>&1; then
        # shellcheck disable=SC2034 # used by invoice_runs.sh
        java_jar="$folder/target/invoice-run.jar"
        echo "clients: java (Maven) builds ok"
    elif grep -qE 'Could not (resolve|transfer)|could not be resolved' "$work/maven/log"; then
        skip "java (Maven)" "Maven reaches no repository with the dependencies"
    else
        die "java (Maven): $(<"$work/maven/log")"
    fi
}

call_java() { CONTACT_SERVICE_TOKEN="$2" java -cp "$java_classpath" Recipients "$target" "$1"; }

# --- TypeScript ------------------------------------------------------------------------------

generate_typescript() {
    local modules="$cache_dir/node-stubs"
    need_node_modules "$modules" "$clients_dir/typescript" ||
        { skip typescript "npm could not install its packages" && return 1; }
    mkdir "$work/typescript"
    cp "$clients_dir/typescript"/{recipients.ts,package.json,tsconfig.json} "$work/typescript"
    ln -s "$modules/node_modules" "$work/typescript/node_modules"
    PATH="$modules/node_modules/.bin:$PATH" generate typescript "$work/typescript"
    (cd "$work/typescript" && node_modules/.bin/tsc) >&2 ||
        die "typescript: the stubs or the client do not compile"
    echo "clients: typescript stubs compile ok"
}

call_typescript() {
    CONTACT_SERVICE_TOKEN="$2" node "$work/typescript/js/recipients.js" "$target" "$1"
}

# --- C# --------------------------------------------------------------------------------------

# Debian has a parser of C#, but neither a generator of services nor the libraries to compile with.
generate_csharp() {
    local missing messages='{"version": "v2", "plugins":
        [{"protoc_builtin": "csharp", "out": ".", "opt": "base_namespace="}]}'
    need_packages protobuf-compiler || { skip csharp "no $missing" && return; }
    if have grpc_csharp_plugin; then
        generate_with_debian csharp "$work/csharp"
        echo "clients: csharp stubs generated ok"
    else
        generate_with_debian csharp "$work/csharp" "$messages"
        echo "clients: csharp messages generated ok"
        skip "csharp service" "no grpc_csharp_plugin"
    fi
    parse_csharp
    skip "csharp call" "no .NET with Google.Protobuf and Grpc.Net.Client"
}

parse_csharp() {
    local missing files
    need_packages mono-mcs || { skip "csharp parse" "no $missing" && return; }
    mapfile -t files < <(find "$work/csharp" -name '*.cs')
    mcs --parse "${files[@]}" >&2 || die "csharp: the stubs cannot be parsed"
    echo "clients: csharp stubs parse ok"
}

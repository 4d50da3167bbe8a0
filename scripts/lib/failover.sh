# shellcheck shell=bash
# Finds the programs of a PostgreSQL cluster with failover, and installs missing ones without
# starting their services. Sourced.

# shellcheck source-path=SCRIPTDIR source=postgres.sh
source "$(dirname "${BASH_SOURCE[0]}")/postgres.sh"

need_cluster_tools() {
    find_postgres >/dev/null || without_services install_postgres || true
    find_postgres >/dev/null ||
        die "PostgreSQL is missing; install it (Debian: apt install postgresql)"
    have_cluster_tools ||
        without_services apt_install patroni etcd-server haproxy pgbouncer \
            python3-psycopg2 python3-etcd || true
    have_cluster_tools ||
        die "Patroni, etcd, HAProxy or PgBouncer is missing; install them (Debian: apt install patroni etcd-server haproxy pgbouncer python3-psycopg2 python3-etcd)"
}

have_cluster_tools() {
    have patroni && have patronictl && have etcd && have haproxy && have pgbouncer
}

# Runs a command that installs packages; Debian asks policy-rc.d whether a service may start.
without_services() {
    local policy=/usr/sbin/policy-rc.d code=0
    if [[ -e "$policy" ]] || ! as_root true; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    "$@" || code=$?
    as_root rm -f "$policy"
    return "$code"
}

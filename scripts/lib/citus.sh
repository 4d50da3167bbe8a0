# shellcheck shell=bash
# Finds PostgreSQL with Citus. Sourced.

# shellcheck source-path=SCRIPTDIR source=postgres.sh
source "$(dirname "${BASH_SOURCE[0]}")/postgres.sh"

# Prints the folder of a PostgreSQL that has the extension: of the one that PG_CONFIG names, or of the
# newest one of Debian.
find_citus() {
    local config configs=(/usr/lib/postgresql/*/bin/pg_config)
    [[ -z "${PG_CONFIG:-}" ]] || configs=("$PG_CONFIG")
    while read -r config; do
        if [[ -x "$config" && -e "$("$config" --pkglibdir)/citus.so" ]]; then
            "$config" --bindir
            return
        fi
    done < <(printf '%s\n' "${configs[@]}" | sort -rV)
    return 1
}

# shellcheck shell=bash
# Invoice runs over all customers by the examples, complete and interrupted: all must write the same
# bytes. Sourced by scripts/clients; uses its `work`, `python`, `target`, `token`, `contact_service`,
# `invoice_run` and the Java clients of stubs.sh.
# shellcheck disable=SC2154 # set by scripts/clients

customer_count=1000
# Bytes of the compressed answer after which a connection fails: about half of it.
bytes_before_fault=25000
proxy_input=""

# Ends the proxy by closing its standard input.
stop_proxy() {
    [[ -n "$proxy_input" ]] || return 0
    exec {proxy_input}>&-
    proxy_input=""
}

# Starts a proxy whose first connection fails. Sets `proxy`. Usage: start_proxy cut|stall
start_proxy() {
    : >"$work/proxy.port"
    exec {proxy_input}> >(cd "$repo_root/tests" && exec "$python" -m support.faulty_proxy \
        "${target##*:}" "$bytes_before_fault" "$1" >"$work/proxy.port")
    for _ in {1..100}; do
        [[ ! -s "$work/proxy.port" ]] || break
        sleep 0.1
    done
    proxy="127.0.0.1:$(<"$work/proxy.port")"
}

# Runs a client with a token; its output is in $work/answer and $work/error.
run_with_token() { CONTACT_SERVICE_TOKEN="$token" "$@" >"$work/answer" 2>"$work/error"; }

import_customers() {
    local number
    for ((number = 0; number < customer_count; number++)); do
        printf 'I-%05d,STANDARD,"Anna ""%d"" Schmidt, Einkauf",s%d@muster.example,%s\n' "$number" \
            "$number" "$number" "$( ((number % 7)) && echo yes || echo no)"
        ((number % 3)) ||
            printf 'I-%05d,ACCOUNTING,Büro %d,b%d@muster.example,yes\n' "$number" "$number" "$number"
    done >"$work/customers.csv"
    sed -i '1i customer_number,types,display_name,email,invoice_email_enabled' "$work/customers.csv"
    contact_service import "$work/customers.csv" --create-customers --emails-confirmed \
        >"$work/answer" 2>"$work/error" || die "import: $(<"$work/error")"
}

# Usage: same NAME FILE
same() { cmp "$2" "$work/all.csv" >&2 || die "$1: writes other bytes"; }

# A complete run, one whose connection is cut, and one that is killed and resumed.
# Usage: check_run NAME COMMAND...     (the command takes --target, --output and --resume)
check_run() {
    local name="$1" file="$work/run.csv" pid
    shift
    rm -f "$file"
    run_with_token "$@" --target "$target" --output "$file" || die "$name: $(<"$work/error")"
    same "$name" "$file"

    rm -f "$file"
    start_proxy cut
    run_with_token "$@" --target "$proxy" --output "$file" || die "$name, cut: $(<"$work/error")"
    stop_proxy
    grep -q UNAVAILABLE "$work/error" || die "$name, cut: the connection did not fail"
    same "$name, cut" "$file"

    rm -f "$file"
    start_proxy stall
    CONTACT_SERVICE_TOKEN="$token" "$@" --target "$proxy" --output "$file" 2>"$work/error" &
    pid=$!
    for _ in {1..300}; do
        [[ ! -s "$file" || "$(wc -l <"$file")" == 1 ]] || break
        sleep 0.1
    done
    { kill -KILL "$pid" && wait "$pid"; } 2>/dev/null || true
    stop_proxy
    ! cmp -s "$file" "$work/all.csv" || die "$name: was complete before it was killed"
    # As if the kill had cut off a line while it was written.
    truncate -s -7 "$file"
    run_with_token "$@" --target "$target" --output "$file" --resume ||
        die "$name, resumed: $(<"$work/error")"
    same "$name, killed and resumed" "$file"
    echo "clients: $name of all customers, cut, killed and resumed ok"
}

# The Java examples also count.
check_summary() {
    local expected
    expected="$(awk -F, 'NR > 1 { count[$2]++ }
        END { printf "%d customers: %d by e-mail, %d by post, %d not at all, %d with an error",
            NR - 1, count["EMAIL"], count["POSTAL"], count["NONE"], count[""] }' "$work/all.csv")"
    [[ "$(tail -n 1 "$work/error")" == "$expected" ]] ||
        die "$1: expected '$expected', got: $(<"$work/error")"
}

check_invoice_runs_of_all() {
    import_customers
    # The reference: the same customers from a list.
    contact_service resolve --all --purpose invoice 2>"$work/error" | cut -d , -f 1 | tail -n +2 \
        >"$work/numbers" || die "resolve --all: $(<"$work/error")"
    run_with_token "${invoice_run[@]}" "$work/numbers" --target "$target" --output "$work/all.csv" ||
        die "invoice run: $(<"$work/error")"
    (("$(wc -l <"$work/all.csv")" > customer_count)) || die "invoice run: customers are missing"
    check_run "invoice run (python)" "${invoice_run[@]}" --all
    if [[ -n "$java_classpath" ]]; then
        check_run "invoice run (java)" java -cp "$java_classpath" example.invoices.InvoiceRun
        check_summary "invoice run (java)"
    fi
    if [[ -n "$java_jar" ]]; then
        check_run "invoice run (java, Maven)" java -jar "$java_jar"
        check_summary "invoice run (java, Maven)"
    fi
}

# shellcheck shell=bash
# Runs the Rust tests so that the runner's own summary ends the output. Sourced.

# Runs all tests that are not proofs. Usage: cargo_test [ARGUMENTS OF CARGO NEXTEST...]
cargo_test() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --no-fail-fast "$@"
    else
        cargo test --locked --no-fail-fast --lib --bins --tests "$@"
    fi
}

# Runs the slow proofs: the ignored tests named proof_*. Usage: cargo_proofs [ARGUMENTS...]
cargo_proofs() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --cargo-profile proof --no-fail-fast --run-ignored only -E 'test(proof_)' "$@"
    else
        cargo test --locked --profile proof --no-fail-fast --lib --bins --tests proof_ -- --ignored "$@"
    fi
}

//! Failpoints, at which tests kill the process to verify that nothing is lost or done twice.

/// Blocks forever if a test has armed the failpoint with `FAILPOINTS=name=return`. Has no effect
/// outside of tests, which alone compile the failpoints in.
pub async fn failpoint(name: &'static str) {
    if is_armed(name) {
        tracing::info!("halted at {name}");
        std::future::pending::<()>().await;
    }
}

#[allow(
    unused_variables,
    clippy::missing_const_for_fn,
    reason = "the function is empty without the feature"
)]
fn is_armed(name: &'static str) -> bool {
    fail::fail_point!(name, |_| true);
    false
}

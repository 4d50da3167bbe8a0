//! Places where a test kills the process, to see that nothing is lost or done twice.

/// Stops here for ever when a test armed this point with `FAILPOINTS=name=return`. In
/// what users run it does nothing: the points are compiled in with the tests only.
pub async fn failpoint(name: &'static str) {
    if is_armed(name) {
        tracing::info!("halted at {name}");
        std::future::pending::<()>().await;
    }
}

#[allow(
    unused_variables,
    clippy::missing_const_for_fn,
    reason = "without the points nothing of it is left"
)]
fn is_armed(name: &'static str) -> bool {
    fail::fail_point!(name, |_| true);
    false
}

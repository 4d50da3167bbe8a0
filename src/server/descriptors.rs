//! The limit of file descriptors, and the numbers of connections derived from it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors reserved for the database (two pools of 10), listeners, the log, files, and outgoing
/// connections (keys, mail, traces).
const RESERVED: u64 = 128;
/// Descriptors reserved for everything that is not counted.
const UNCOUNTED: u64 = 64;

/// Raises the soft limit of file descriptors to the hard limit, if the system permits it, and logs the
/// resulting limit.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let result = if limit.current == limit.maximum {
        Ok(())
    } else {
        setrlimit(Resource::Nofile, raised)
    };
    let max = max_descriptors();
    match result {
        Ok(()) => tracing::info!(max, before = limit.current, "file descriptors"),
        Err(error) => tracing::warn!(max, %error, "raising the limit of file descriptors failed"),
    }
}

/// Returns the maximum number of open file descriptors; [`u64::MAX`] without a limit.
pub fn max_descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Returns the maximum number of client connections of all listeners.
pub fn max_connections() -> u64 {
    connections_within(max_descriptors())
}

/// Returns the maximum number of connections to the gRPC port, besides `waiting` newcomers: five eighths
/// of all connections, and at most `max`. The confirmation page and the probes have the others.
pub(super) fn grpc_connections(max: usize, waiting: usize) -> usize {
    grpc_share(max_connections(), max, waiting)
}

fn grpc_share(connections: u64, max: usize, waiting: usize) -> usize {
    let share = usize::try_from(connections / 8 * 5).unwrap_or(usize::MAX);
    share.saturating_sub(waiting).clamp(1, max)
}

/// Never zero: with few descriptors, connections use a part of the reserved ones.
fn connections_within(descriptors: u64) -> u64 {
    let left = descriptors.saturating_sub(RESERVED + UNCOUNTED);
    left.max(descriptors / 4).max(1)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(1024, 832)]
    #[case(1_048_576, 1_048_384)]
    #[case::no_limit(u64::MAX, u64::MAX - 192)]
    #[case::too_few(256, 64)]
    #[case::far_too_few(2, 1)]
    fn descriptors_are_reserved_for_other_uses(#[case] descriptors: u64, #[case] connections: u64) {
        assert_eq!(connections_within(descriptors), connections);
    }

    #[rstest]
    #[case::few_descriptors(832, 456)]
    #[case::many(1_048_384, 4096)]
    #[case::far_too_few(1, 1)]
    fn grpc_has_five_eighths_of_the_connections(#[case] all: u64, #[case] grpc: usize) {
        assert_eq!(grpc_share(all, 4096, 64), grpc);
    }

    #[test]
    fn soft_limit_is_raised_to_the_hard_limit() {
        let hard = getrlimit(Resource::Nofile).maximum;
        // Any lower value that leaves enough descriptors for the tests of this process.
        let low = Rlimit {
            current: Some(512),
            maximum: hard,
        };
        setrlimit(Resource::Nofile, low).unwrap();
        assert_eq!(max_descriptors(), 512);
        raise_descriptor_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }
}

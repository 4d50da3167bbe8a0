//! File descriptors: how many the process may have open, and so how many connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for the database, which has two pools of 10, for listeners, log, files, and outgoing
/// connections (keys, mail, traces).
const RESERVED: u64 = 128;
/// Kept beyond everything that is counted.
const SPARE: u64 = 64;

/// Raises the soft limit of file descriptors to the hard one, as far as the system lets it, and logs
/// the limit that holds.
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
        Err(error) => tracing::warn!(max, %error, "the limit of file descriptors was not raised"),
    }
}

/// Returns how many file descriptors this process may have open; [`u64::MAX`] without a limit.
pub fn max_descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Returns how many connections clients may hold in total, with room kept for all else.
pub fn max_connections() -> u64 {
    connections_within(max_descriptors())
}

/// Returns how many connections the gRPC port may have, besides `waiting` newcomers: what the page and
/// probes leave, and at most `max`.
pub(super) fn grpc_connections(max: usize, waiting: usize) -> usize {
    grpc_share(max_connections(), max, waiting)
}

fn grpc_share(connections: u64, max: usize, waiting: usize) -> usize {
    let share = usize::try_from(connections / 8 * 5).unwrap_or(usize::MAX);
    share.saturating_sub(waiting).clamp(1, max)
}

/// Never zero: with few descriptors some are shared with what they are kept for.
fn connections_within(descriptors: u64) -> u64 {
    let left = descriptors.saturating_sub(RESERVED + SPARE);
    left.max(descriptors / 4).max(1)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(1024, 832)]
    #[case(1_048_576, 1_048_384)]
    #[case::of_no_limit(u64::MAX, u64::MAX - 192)]
    #[case::too_few(256, 64)]
    #[case::far_too_few(2, 1)]
    fn room_is_kept_beside_connections(#[case] descriptors: u64, #[case] connections: u64) {
        assert_eq!(connections_within(descriptors), connections);
    }

    #[rstest]
    #[case::few_descriptors(832, 456)]
    #[case::many(1_048_384, 4096)]
    #[case::far_too_few(1, 1)]
    fn grpc_takes_what_the_page_and_probes_leave(#[case] all: u64, #[case] grpc: usize) {
        assert_eq!(grpc_share(all, 4096, 64), grpc);
    }

    #[test]
    fn soft_limit_is_raised_to_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        // Any lower value will do: the tests of this process need a few.
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

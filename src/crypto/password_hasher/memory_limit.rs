//! The memory limit of the process, read from the files of Linux. A file that cannot be read sets no
//! limit.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Returns the bytes that this process may use: the smallest of the machine's memory, the limits
/// of its control groups (v1 and v2), and `RLIMIT_AS`. `None` if none of them is known.
pub fn available() -> Option<u64> {
    available_below(Path::new("/"))
}

fn available_below(root: &Path) -> Option<u64> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let machine = machine_bytes(&read("proc/meminfo"));
    let address_space = address_space_bytes(&read("proc/self/limits"));
    let groups = read("proc/self/cgroup");
    let group_limits = groups
        .lines()
        .filter_map(parse_group)
        .flat_map(|group| limit_files(&group));
    let group_limits = group_limits.filter_map(|file| {
        let text = fs::read_to_string(root.join(file)).ok()?;
        text.trim().parse().ok()
    });
    group_limits.chain(machine).chain(address_space).min()
}

/// Parses the line `MemTotal:       24683084 kB`.
fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Parses the soft limit of `Max address space         unlimited            unlimited            bytes`.
fn address_space_bytes(limits: &str) -> Option<u64> {
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A control group that limits memory.
struct Cgroup {
    mount_point: &'static str,
    path: PathBuf,
    limit_file: &'static str,
}

/// Parses a line such as `0::/path` (version 2) or `4:memory:/path` (version 1).
fn parse_group(line: &str) -> Option<Cgroup> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (mount_point, limit_file) = if controllers.is_empty() {
        ("sys/fs/cgroup", "memory.max")
    } else if controllers.split(',').any(|name| name == "memory") {
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        return None;
    };
    Some(Cgroup {
        mount_point,
        path: path.trim_start_matches('/').into(),
        limit_file,
    })
}

/// Returns the limit files of the group and its ancestors. A container may see its own group as the
/// root, whatever its path.
fn limit_files(group: &Cgroup) -> Vec<PathBuf> {
    let file_of = |path: &Path| {
        let folder = Path::new(group.mount_point).join(path);
        folder.join(group.limit_file)
    };
    group.path.ancestors().map(file_of).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const MACHINE: (&str, &str) = (
        "proc/meminfo",
        "MemTotal:        8388608 kB\nMemFree: 1 kB\n",
    );
    const GIB: u64 = 1 << 30;

    fn available_with(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        available_below(root.path())
    }

    #[rstest]
    #[case::nothing_known(&[], None)]
    #[case::machine(&[MACHINE], Some(8 * GIB))]
    #[case::group_v2(
        &[MACHINE, ("proc/self/cgroup", "0::/a/b\n"), ("sys/fs/cgroup/a/b/memory.max", "1073741824\n")],
        Some(GIB)
    )]
    #[case::group_v2_without_limit(
        &[MACHINE, ("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "max\n")],
        Some(8 * GIB)
    )]
    #[case::group_above(
        &[
            MACHINE,
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/memory.max", "2147483648\n"),
        ],
        Some(2 * GIB)
    )]
    #[case::container_that_sees_its_group_at_the_top(
        &[
            MACHINE,
            ("proc/self/cgroup", "0::/../../docker/x\n"),
            ("sys/fs/cgroup/memory.max", "1073741824\n"),
        ],
        Some(GIB)
    )]
    #[case::group_v1(
        &[
            MACHINE,
            ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n"),
            ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1073741824\n"),
        ],
        Some(GIB)
    )]
    #[case::group_v1_without_limit(
        &[
            MACHINE,
            ("proc/self/cgroup", "4:memory:/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ],
        Some(8 * GIB)
    )]
    #[case::address_space(
        &[
            MACHINE,
            ("proc/self/limits", "Limit  Soft  Hard  Units\nMax address space         1073741824           unlimited            bytes\n"),
        ],
        Some(GIB)
    )]
    #[case::unlimited_address_space(
        &[
            MACHINE,
            ("proc/self/limits", "Max address space         unlimited            unlimited            bytes\n"),
        ],
        Some(8 * GIB)
    )]
    fn smallest_limit_applies(#[case] files: &[(&str, &str)], #[case] bytes: Option<u64>) {
        assert_eq!(available_with(files), bytes);
    }
}

//! What this process holds. Only for tests that are `alone`.

use std::os::fd::RawFd;
use std::sync::Mutex;

use rustix::process::{Resource, getrlimit, setrlimit};

/// The open descriptors and what they are, in order.
///
/// # Panics
///
/// If `/proc` cannot be read.
pub fn fds() -> Vec<(RawFd, String)> {
    let dir = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    // The listing's own descriptor is gone by the time its link is read.
    let mut fds: Vec<(RawFd, String)> = dir
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect::<Vec<_>>()
        .into_iter()
        .filter_map(|(number, path)| {
            let target = std::fs::read_link(path).ok()?;
            Some((number, target.to_string_lossy().into_owned()))
        })
        .collect();
    fds.sort();
    fds
}

/// The names of this process's threads, in order; without the kernel's workers, which come and go by themselves.
///
/// # Panics
///
/// If `/proc` cannot be read.
pub fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let mut names: Vec<String> = tasks
        .filter_map(|task| {
            let name = std::fs::read_to_string(task.ok()?.path().join("comm")).ok()?;
            Some(name.trim_end().to_owned())
        })
        .filter(|name| !name.starts_with("iou-"))
        .collect();
    names.sort();
    names
}

/// Memory of this process that is in RAM.
///
/// # Panics
///
/// If `/proc` cannot be read.
pub fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.expect("a number of KiB") * 1024
}

/// Raises the limit of descriptors as far as it goes, and says how far that is.
pub fn raise_descriptor_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What is refused leaves the limit as it was.
    let _ = setrlimit(Resource::Nofile, limit);
    let now = getrlimit(Resource::Nofile).current;
    now.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// Keeps `value` for ever, where a leak checker sees that this is meant.
///
/// # Panics
///
/// Never.
pub fn forget_on_purpose<T: 'static>(value: T) {
    static FORGOTTEN: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let address = std::ptr::from_mut(Box::leak(Box::new(value))) as usize;
    FORGOTTEN
        .lock()
        .expect("nothing panics under this lock")
        .push(address);
}

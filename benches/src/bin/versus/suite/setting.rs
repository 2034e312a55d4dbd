//! Where and with what it was measured.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use annulet_benches::cores;
use serde::{Deserialize, Serialize};

/// Fixed when this program was built.
const LOCK: &str = include_str!("../../../../../Cargo.lock");

#[derive(Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(super) date: String,
    pub(super) kernel: String,
    pub(super) processor: String,
    pub(super) cores: usize,
    pub(super) is_virtual: bool,
    pub(super) memory_gib: u64,
    /// What the files are on.
    pub(super) file_system: String,
    /// Of the tree this was built from; it may have been changed since.
    pub(super) revision: Option<String>,
    /// What the benches depend on, as locked.
    versions: Vec<(String, String)>,
}

impl Setting {
    pub(super) fn here(files: &Path) -> io::Result<Setting> {
        let cpu = fs::read_to_string("/proc/cpuinfo")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let kib: Option<u64> = after(&memory, "MemTotal:")
            .and_then(|rest| rest.strip_suffix("kB")?.trim().parse().ok());
        let date = httpdate::fmt_http_date(SystemTime::now());
        Ok(Setting {
            // "Sat, 21 Nov 2026 16:30:00 GMT"
            date: date.get(5..16).unwrap_or(&date).to_owned(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            processor: after(&cpu, "model name").unwrap_or("unknown").to_owned(),
            cores: cores::allowed()?,
            is_virtual: after(&cpu, "flags")
                .is_some_and(|f| f.split(' ').any(|f| f == "hypervisor")),
            memory_gib: kib.unwrap_or(0).div_ceil(1 << 20),
            file_system: file_system(files).unwrap_or_else(|_| "unknown".to_owned()),
            revision: revision(),
            versions: versions(LOCK),
        })
    }

    /// Whether figures measured in both belong together, whenever that was.
    pub(super) fn is_like(&self, other: &Setting) -> bool {
        let things = |setting: &Setting| {
            // The results may themselves be what has changed in the tree.
            let revision = setting.revision.clone().unwrap_or_default();
            (
                setting.kernel.clone(),
                setting.processor.clone(),
                setting.cores,
                revision.trim_end_matches("-dirty").to_owned(),
                setting.versions.clone(),
            )
        };
        things(self) == things(other)
    }

    /// A contender's version: that of the crate whose name it begins with.
    pub(super) fn version(&self, contender: &str) -> Option<String> {
        let by_hand = match contender {
            "ring" | "ring-pool" => "io-uring",
            "epoll" | "epoll-wait" | "eventfd" | "pread" => "rustix",
            other => other,
        };
        let named = |name: &str| self.versions.iter().find(|(known, _)| known == name);
        let (name, version) = named(by_hand).or_else(|| named(by_hand.rsplit_once('-')?.0))?;
        Some(match &self.revision {
            Some(revision) if name == "annulet" => format!("{name} {version} ({revision})"),
            _ => format!("{name} {version}"),
        })
    }

    pub(super) fn machine(&self) -> String {
        let kind = if self.is_virtual {
            "virtual machine"
        } else {
            "machine"
        };
        format!(
            "{kind}, {} cores of {}, {} GiB; Linux {}; files on {}",
            self.cores, self.processor, self.memory_gib, self.kernel, self.file_system
        )
    }
}

/// What follows the first line's `name`, and the colon there may be.
fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.trim_start_matches(['\t', ' ', ':']).trim())
}

/// Its kind, of the mount that is nearest to `dir`.
fn file_system(dir: &Path) -> io::Result<String> {
    let dir = dir.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let nearest = mounts
        .filter(|(at, _)| dir.starts_with(at))
        .max_by_key(|(at, _)| at.len());
    Ok(nearest.map_or("unknown", |(_, kind)| kind).to_owned())
}

fn revision() -> Option<String> {
    let told = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR")])
        .args(["describe", "--always", "--dirty"])
        .output()
        .ok()?;
    let revision = String::from_utf8(told.stdout).ok()?.trim().to_owned();
    (told.status.success() && !revision.is_empty()).then_some(revision)
}

/// The benches' dependencies in a `Cargo.lock`. Where there are several versions of a crate it tells whose is which.
fn versions(lock: &str) -> Vec<(String, String)> {
    let quoted = |line: &str| Some(line.split('"').nth(1)?.to_owned());
    let packages = || lock.split("[[package]]\n").skip(1);
    let field = |package: &str, name: &str| {
        let start = format!("{name} = ");
        package
            .lines()
            .find_map(|line| quoted(line.strip_prefix(&start)?))
    };
    let ours = packages().find(|p| field(p, "name").as_deref() == Some("annulet-benches"));
    let listed = ours
        .unwrap_or_default()
        .lines()
        .skip_while(|l| *l != "dependencies = [");
    let mut versions = Vec::new();
    for wanted in listed.filter_map(|line| line.strip_prefix(" \"")) {
        let wanted = wanted.trim_end_matches("\",");
        let (name, version) = wanted.split_once(' ').unwrap_or((wanted, ""));
        let locked = packages()
            .filter(|p| field(p, "name").as_deref() == Some(name))
            .filter_map(|p| field(p, "version"))
            .find(|locked| version.is_empty() || locked == version);
        versions.extend(locked.map(|locked| (name.to_owned(), locked)));
    }
    // The latest of a crate first.
    versions.reverse();
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_the_locked_ones() {
        let lock = "[[package]]\nname = \"other\"\nversion = \"9.0.0\"\n\n\
            [[package]]\nname = \"annulet-benches\"\nversion = \"0.1.0\"\ndependencies = [\n \"other\",\n \"twice 0.2.0\",\n]\n\n\
            [[package]]\nname = \"twice\"\nversion = \"0.1.0\"\n\n\
            [[package]]\nname = \"twice\"\nversion = \"0.2.0\"\ndependencies = [\n \"other\",\n]\n";
        let expected = [("twice", "0.2.0"), ("other", "9.0.0")];
        assert_eq!(
            versions(lock),
            expected.map(|(name, version)| (name.to_owned(), version.to_owned()))
        );
    }

    #[test]
    fn every_contender_has_a_version() {
        let setting = Setting::here(Path::new("/")).unwrap();
        for contender in crate::contenders::ALL {
            assert!(
                setting.version(contender.name).is_some(),
                "{}",
                contender.name
            );
        }
    }
}

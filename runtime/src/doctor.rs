//! What this machine makes of the runtime, and what would make more of it: [`doctor()`].

use std::fmt;
use std::fs;
use std::time::Duration;

use annulet_driver::op::{OPCODES, Opcode, Without};
use annulet_driver::{Driver, DriverKind, Setup};
use rustix::process::{Resource, getrlimit};

/// Below this many descriptors a server soon has none left.
const FEW_DESCRIPTORS: u64 = 4096;
/// How long the probed ring may take to end; nothing is in flight on it.
const END: Duration = Duration::from_secs(5);

/// What was found; see [`doctor()`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The kernel's release, e.g. `6.18.2`.
    pub kernel: String,
    /// The ring that a program gets here which leaves the choice alone; or why it gets none.
    pub driver: Result<DriverKind, String>,
    /// What the environment variable `ANNULET_DRIVER` says, if it is set.
    pub variable: Option<String>,
    /// Why the kernel's ring is refused, with the remedy in words, if it is; also where it was not asked for.
    pub refused: Option<String>,
    /// The set-up flags that ring runs with, e.g. `SINGLE_ISSUER | DEFER_TASKRUN`.
    pub flags: String,
    /// Every operation, by name, and how it is carried out there. Empty without a ring.
    pub operations: Vec<Operation>,
    /// What limits the process.
    pub limits: Limits,
    /// What to do for more, in words; empty if there is nothing.
    pub remedies: Vec<String>,
}

/// One operation, as a ring has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// The kernel's name for it, e.g. `IORING_OP_RECV`.
    pub name: &'static str,
    /// The first Linux whose ring carries it out.
    pub since: &'static str,
    /// How it is carried out here.
    pub support: Support,
}

/// How an operation is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// By the ring.
    Ring,
    /// Not by this ring: in its place this is done.
    Instead(Without),
}

/// What limits the process. `None`: it could not be read, or there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// `RLIMIT_NOFILE`, the soft limit: how many descriptors may be open. `None`: no limit.
    pub descriptors: Option<u64>,
    /// The hard one, up to which the process may raise it.
    pub descriptors_at_most: Option<u64>,
    /// `RLIMIT_MEMLOCK` in bytes, the soft limit; rings count, for whoever has not `CAP_IPC_LOCK`. `None`: no limit.
    pub locked_bytes: Option<u64>,
    /// The sysctl `kernel.io_uring_disabled`: 0 for nobody, 1 for all but a group, 2 for all. Linux 6.6.
    pub io_uring_disabled: Option<u32>,
    /// The sysctl `kernel.io_uring_group`: the group that 1 does not concern; -1 is none. Linux 6.6.
    pub io_uring_group: Option<i64>,
    /// How the thread's system calls are filtered.
    pub seccomp: Option<Seccomp>,
}

/// A thread's seccomp mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seccomp {
    /// No filter.
    Off,
    /// Next to nothing is allowed.
    Strict,
    /// A filter, such as a container's profile, decides.
    Filter,
}

/// Looks at what a program gets here: which ring and why, what it carries out, what limits it, and what would help.
///
/// It builds a ring with the default options, as [`Runtime::new`](crate::Runtime::new) would in its place, and drops
/// it again: that, and reading a few files of `/proc`, takes about a millisecond and blocks the thread. It may be
/// called anywhere, also inside a runtime. [`Display`](fmt::Display) makes a page of it:
///
/// ```text
/// $ cargo run --example doctor
/// ```
///
/// It cannot fail: what cannot be had is told in the report. Where the kernel's ring is refused it warns as a runtime
/// does (see [`DriverKind::Auto`]).
///
/// # Examples
///
/// ```
/// let report = runtime::doctor();
/// println!("{report}");
/// if report.driver != Ok(runtime::DriverKind::Kernel) {
///     eprintln!("not on io_uring: {:?}", report.refused);
/// }
/// for remedy in &report.remedies {
///     eprintln!("{remedy}");
/// }
/// # assert!(!report.operations.is_empty());
/// ```
pub fn doctor() -> Report {
    let mut report = Report {
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
            .map_or("(not told)".into(), |release| release.trim().to_owned()),
        driver: Ok(DriverKind::Auto),
        variable: std::env::var_os("ANNULET_DRIVER").map(|said| said.to_string_lossy().into()),
        refused: None,
        flags: String::new(),
        operations: Vec::new(),
        limits: limits(),
        remedies: Vec::new(),
    };
    match Driver::new(&Setup::default()) {
        Ok(driver) => {
            report.driver = Ok(driver.kind());
            report.refused = driver.refused().map(ToString::to_string);
            report.flags = driver.ring_flags();
            report.operations = operations(&driver);
            driver.shutdown(END);
        }
        Err(error) => report.driver = Err(error.to_string()),
    }
    if report.driver != Ok(DriverKind::Kernel) && report.refused.is_none() {
        let setup = Setup {
            driver: DriverKind::Kernel,
            ..Setup::default()
        };
        match Driver::new(&setup) {
            Ok(driver) => drop(driver.shutdown(END)),
            Err(error) => report.refused = Some(error.to_string()),
        }
    }
    report.remedies = remedies(&report);
    report
}

/// Those of one name are one.
fn operations(driver: &Driver) -> Vec<Operation> {
    let mut opcodes: Vec<&Opcode> = OPCODES.iter().collect();
    opcodes.sort_by_key(|opcode| opcode.name);
    opcodes.dedup_by_key(|opcode| opcode.name);
    let found = opcodes.into_iter().map(|opcode| Operation {
        name: opcode.name,
        since: opcode.since,
        support: match opcode.number {
            Some(number) if driver.supports(number) => Support::Ring,
            _ => Support::Instead(opcode.without),
        },
    });
    found.collect()
}

fn limits() -> Limits {
    let (files, locked) = (getrlimit(Resource::Nofile), getrlimit(Resource::Memlock));
    Limits {
        descriptors: files.current,
        descriptors_at_most: files.maximum,
        locked_bytes: locked.current,
        io_uring_disabled: number_in("/proc/sys/kernel/io_uring_disabled"),
        io_uring_group: number_in("/proc/sys/kernel/io_uring_group"),
        seccomp: fs::read_to_string("/proc/thread-self/status")
            .ok()
            .and_then(|status| seccomp_in(&status)),
    }
}

fn number_in<T: std::str::FromStr>(path: &str) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn seccomp_in(status: &str) -> Option<Seccomp> {
    let mode = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"))?;
    match mode.trim() {
        "0" => Some(Seccomp::Off),
        "1" => Some(Seccomp::Strict),
        "2" => Some(Seccomp::Filter),
        _ => None,
    }
}

/// What to do, the most important first.
fn remedies(report: &Report) -> Vec<String> {
    let mut remedies = Vec::new();
    if let Some(said) = &report.variable
        && report.driver != Ok(DriverKind::Kernel)
        && !matches!(said.as_str(), "" | "auto")
    {
        remedies.push(format!(
            "unset ANNULET_DRIVER (it is {said:?}): then the kernel's ring is taken where it can be had"
        ));
    }
    if let Some(refused) = &report.refused {
        remedies.push(for_the_kernels_ring(refused, &report.limits));
    } else if report.driver == Ok(DriverKind::Kernel) {
        if !report.flags.contains("DEFER_TASKRUN") {
            remedies.push(
                "Linux 6.1 or newer: it completes work only when asked for it, in batches".into(),
            );
        }
        let missing = report.operations.iter().filter(|operation| {
            matches!(operation.support, Support::Instead(_)) && operation.name.starts_with("IORING")
        });
        if let Some(newest) = missing.max_by_key(|operation| version(operation.since)) {
            remedies.push(format!(
                "Linux {} or newer: it carries out all operations",
                newest.since
            ));
        }
    }
    let Limits {
        descriptors,
        descriptors_at_most,
        ..
    } = report.limits;
    if let Some(few) = descriptors
        && few < FEW_DESCRIPTORS
    {
        remedies.push(match descriptors_at_most {
            Some(most) if most <= few => {
                format!("more than {few} descriptors for a server: raise the hard limit of RLIMIT_NOFILE")
            }
            Some(most) => format!("more than {few} descriptors for a server: ulimit -n {most}"),
            None => format!("more than {few} descriptors for a server: ulimit -n unlimited"),
        });
    }
    remedies
}

/// The error tells all that may be the cause; here more is known.
fn for_the_kernels_ring(refused: &str, limits: &Limits) -> String {
    let forbidden = refused.contains("io_uring is forbidden");
    match (limits.io_uring_disabled, limits.io_uring_group) {
        (Some(2), _) if forbidden => "sysctl kernel.io_uring_disabled=0: it is 2, which forbids \
            io_uring to everybody"
            .into(),
        (Some(1), Some(group)) if forbidden && group >= 0 => format!(
            "make the program's user a member of group {group}, or sysctl \
             kernel.io_uring_disabled=0: it is 1, which forbids io_uring to all others"
        ),
        (Some(1), _) if forbidden => "sysctl kernel.io_uring_disabled=0, or name a group of the \
            program's user in kernel.io_uring_group: it is 1, which forbids io_uring to whoever has not CAP_SYS_ADMIN"
            .into(),
        _ if forbidden && limits.seccomp == Some(Seccomp::Filter) => "let the seccomp profile pass \
            io_uring_setup, io_uring_enter and io_uring_register (Docker: --security-opt \
            seccomp=profile.json; its default profile has forbidden them since version 25)"
            .into(),
        _ => refused.to_owned(),
    }
}

/// `6.11` is newer than `6.9`.
fn version(since: &str) -> Vec<u32> {
    since
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}

impl Report {
    /// Why it is this ring, in words.
    fn why(&self) -> String {
        match (&self.driver, &self.variable, &self.refused) {
            (Err(reason), ..) => reason.clone(),
            (Ok(_), Some(said), _) if matches!(said.as_str(), "kernel" | "poll") => {
                format!("ANNULET_DRIVER is {said:?}")
            }
            (Ok(DriverKind::Kernel), ..) => "it can be had".into(),
            (Ok(_), _, Some(refused)) => format!("the kernel's is refused: {refused}"),
            (Ok(_), ..) => String::new(),
        }
    }
}

/// A page: a line a fact, each part under its name, what to do last.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kernel       Linux {}", self.kernel)?;
        let ring = match self.driver {
            Ok(DriverKind::Kernel) => "the kernel's (io_uring)",
            Ok(_) => "in user space",
            Err(_) => "none",
        };
        writeln!(f, "ring         {ring}")?;
        writeln!(f, "  because    {}", self.why())?;
        if !self.flags.is_empty() {
            writeln!(f, "  set-up     {}", self.flags)?;
        }
        let on_ring = |operation: &&Operation| operation.support == Support::Ring;
        let has = self.operations.iter().filter(on_ring).count();
        if !self.operations.is_empty() {
            writeln!(
                f,
                "operations   {has} of {} by the ring",
                self.operations.len()
            )?;
        }
        for operation in self.operations.iter().filter(on_ring) {
            writeln!(f, "  ring       {}", operation.name)?;
        }
        for operation in &self.operations {
            if let Support::Instead(without) = operation.support {
                let (word, how) = in_words(without);
                let Operation { name, since, .. } = operation;
                match name.starts_with("IORING") {
                    true => writeln!(
                        f,
                        "  {word}    {name}: {how}; the kernel's ring has it since Linux {since}"
                    )?,
                    false => writeln!(f, "  {word}    {name}: {how}, on every ring")?,
                }
            }
        }
        fmt::Display::fmt(&self.limits, f)?;
        if self.remedies.is_empty() {
            return writeln!(f, "remedies     none needed");
        }
        writeln!(f, "remedies     {}", self.remedies.len())?;
        for remedy in &self.remedies {
            writeln!(f, "  do         {remedy}")?;
        }
        Ok(())
    }
}

fn in_words(without: Without) -> (&'static str, &'static str) {
    match without {
        Without::Call => ("instead", "a system call that does not block"),
        Without::Pool => ("instead", "the functions of `fs` use the thread pool"),
        Without::Poll => ("instead", "the functions of `process` wait by a poll"),
        Without::Plain => ("instead", "the same, without memory that the ring knows"),
        Without::Nothing => ("missing", "`Unsupported`"),
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = |limit: Option<u64>| limit.map_or("unlimited".into(), |n| n.to_string());
        let (now, most) = (limit(self.descriptors), limit(self.descriptors_at_most));
        writeln!(f, "limits")?;
        writeln!(f, "  RLIMIT_NOFILE             {now}, at most {most}")?;
        writeln!(
            f,
            "  RLIMIT_MEMLOCK            {} bytes",
            limit(self.locked_bytes)
        )?;
        let told = |number: Option<i64>| number.map_or("not told".into(), |n| n.to_string());
        let disabled = told(self.io_uring_disabled.map(i64::from));
        writeln!(f, "  kernel.io_uring_disabled  {disabled}")?;
        writeln!(
            f,
            "  kernel.io_uring_group     {}",
            told(self.io_uring_group)
        )?;
        let seccomp = match self.seccomp {
            Some(Seccomp::Off) => "off",
            Some(Seccomp::Strict) => "strict",
            Some(Seccomp::Filter) => "a filter",
            None => "not told",
        };
        writeln!(f, "  seccomp                   {seccomp}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORBIDDEN: &str = "io_uring is forbidden here: (...)";

    fn healthy() -> Report {
        Report {
            kernel: "6.18.0".into(),
            driver: Ok(DriverKind::Kernel),
            variable: None,
            refused: None,
            flags: "SINGLE_ISSUER | DEFER_TASKRUN".into(),
            operations: vec![operation("IORING_OP_NOP", "5.1", Support::Ring)],
            limits: Limits {
                descriptors: Some(1 << 20),
                descriptors_at_most: Some(1 << 20),
                locked_bytes: None,
                io_uring_disabled: Some(0),
                io_uring_group: Some(-1),
                seccomp: Some(Seccomp::Off),
            },
            remedies: Vec::new(),
        }
    }

    fn operation(name: &'static str, since: &'static str, support: Support) -> Operation {
        Operation {
            name,
            since,
            support,
        }
    }

    fn refused(change: impl FnOnce(&mut Limits)) -> String {
        let mut report = healthy();
        report.driver = Ok(DriverKind::Poll);
        report.refused = Some(FORBIDDEN.into());
        change(&mut report.limits);
        let mut remedies = remedies(&report);
        assert_eq!(remedies.len(), 1, "{remedies:?}");
        remedies.remove(0)
    }

    #[test]
    fn a_healthy_machine_needs_no_remedy() {
        assert_eq!(remedies(&healthy()), Vec::<String>::new());
        let page = healthy().to_string();
        assert!(page.contains("none needed"), "{page}");
    }

    #[test]
    fn a_refusal_is_answered_by_what_is_known_of_its_cause() {
        let filter = |limits: &mut Limits| limits.seccomp = Some(Seccomp::Filter);
        assert!(refused(filter).contains("seccomp profile"));
        let all = |limits: &mut Limits| limits.io_uring_disabled = Some(2);
        assert!(refused(all).contains("to everybody"));
        let most = |limits: &mut Limits| limits.io_uring_disabled = Some(1);
        assert!(refused(most).contains("CAP_SYS_ADMIN"));
        let group = |limits: &mut Limits| {
            (limits.io_uring_disabled, limits.io_uring_group) = (Some(1), Some(77));
        };
        assert!(refused(group).contains("member of group 77"));
        assert_eq!(refused(|_| {}), FORBIDDEN);
    }

    #[test]
    fn the_kernel_that_has_all_that_is_missing_is_named() {
        let mut report = healthy();
        let instead = Support::Instead(Without::Nothing);
        report
            .operations
            .push(operation("IORING_OP_A", "6.9", instead));
        report
            .operations
            .push(operation("IORING_OP_B", "6.11", instead));
        report.operations.push(operation("lseek", "7.0", instead));
        let found = remedies(&report);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("Linux 6.11"), "{found:?}");
        report.flags = "COOP_TASKRUN".into();
        assert!(remedies(&report)[0].contains("Linux 6.1 "));
    }

    #[test]
    fn few_descriptors_are_told_with_how_many_there_may_be() {
        let mut report = healthy();
        report.limits.descriptors = Some(1024);
        assert!(remedies(&report)[0].contains("ulimit -n 1048576"));
        report.limits.descriptors_at_most = Some(1024);
        assert!(remedies(&report)[0].contains("hard limit"));
    }

    #[test]
    fn a_variable_that_keeps_the_kernels_ring_away_is_told() {
        let mut report = healthy();
        report.variable = Some("poll".into());
        assert!(remedies(&report).is_empty());
        report.driver = Ok(DriverKind::Poll);
        assert!(remedies(&report)[0].contains("unset ANNULET_DRIVER"));
        assert!(report.to_string().contains("ANNULET_DRIVER is \"poll\""));
    }

    #[test]
    fn the_mode_of_seccomp_is_read_from_the_threads_status() {
        let status = "NoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        assert_eq!(seccomp_in(status), Some(Seccomp::Filter));
        assert_eq!(seccomp_in("Seccomp_filters:\t1\n"), None);
    }

    #[test]
    fn this_machine_is_told_as_it_is() {
        let report = doctor();
        let runtime = crate::Runtime::new().unwrap();
        let driver = runtime.driver();
        assert_eq!(report.driver, Ok(driver.kind()));
        assert_eq!(report.flags, driver.ring_flags());
        let page = report.to_string();
        for opcode in OPCODES {
            assert!(page.contains(opcode.name), "no {} in: {page}", opcode.name);
        }
        assert!(report.limits.seccomp.is_some());
    }
}

//! Section I: which ring a program gets, and that it works where the kernel refuses its own. Each test here has a
//! process of its own, set up for it: its environment, its user, a filter of system calls like a container's.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use annulet_tests::rings::REFUSED;
use annulet_tests::{
    Ring, apart, fds, forget_on_purpose, poll_now, refuse_rings, skip, spec, submitted, test_name,
    threads, watchdog,
};
use runtime::net::{TcpListener, TcpStream};
use runtime::{Builder, DriverKind, Op, Runtime, fs, op};
use rustix::process::{Resource, Rlimit, geteuid, setrlimit};
use signal_hook::consts::SIGURG;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::i_refusals::assert_says;

const VARIABLE: &str = "ANNULET_DRIVER";
/// "nobody", on every Linux.
const NOBODY: u32 = 65_534;

spec! {
    alone i1_a_program_that_handles_sigurg_keeps_its_handler_and_a_stuck_open_holds_nothing on poll;
    alone i1_a_stuck_worker_holds_the_shutdown_no_longer_than_its_timeout on poll;
}

/// Tests that set up the process they run in.
macro_rules! in_a_process_of_its_own {
    ($($name:ident, $prepare:expr, $test:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let path = concat!(module_path!(), "::", stringify!($name));
                apart(path, $prepare, $test);
            }
        )*
    };
}

in_a_process_of_its_own! {
    i1_where_a_profile_forbids_io_uring_a_program_runs_in_user_space, unset,
        || runs_where_refused(libc::EPERM, ErrorKind::PermissionDenied, &["seccomp", "kernel.io_uring_disabled"]);
    i1_on_a_kernel_without_io_uring_a_program_runs_in_user_space, unset,
        || runs_where_refused(libc::ENOSYS, ErrorKind::Unsupported, &["CONFIG_IO_URING", "Linux 5.19"]);
    i1_beyond_the_memory_limit_a_program_runs_in_user_space, unset,
        || runs_where_refused(libc::ENOMEM, ErrorKind::OutOfMemory, &["RLIMIT_MEMLOCK", "ulimit -l"]);
    i1_other_refusals_are_no_reason_to_run_in_user_space, unset, no_reason;
    i1_the_variable_chooses_the_ring_in_user_space_without_a_warning,
        |command| says(command, "poll"), the_variable_says_poll;
    i1_the_variable_insists_on_the_kernels_ring, |command| says(command, "kernel"), the_variable_says_kernel;
    i1_the_variable_may_leave_the_choice_alone, |command| says(command, "auto"), the_variable_says_nothing;
    i1_an_empty_variable_leaves_the_choice_alone, |command| says(command, ""), the_variable_says_nothing;
    i1_a_variable_that_names_no_ring_is_told, |command| says(command, "Poll "), the_variable_says_nonsense;
    i1_workers_are_as_many_as_the_pool_may_have_and_end_when_there_is_nothing_to_do,
        |command| { says(command, "poll"); command.env("BLOCKING_MAX_THREADS", "2"); }, two_workers;
}

fn unset(command: &mut Command) {
    command.env_remove(VARIABLE);
}

fn says(command: &mut Command, value: &str) {
    command.env(VARIABLE, value);
}

/// Every warning and error of the process.
#[derive(Clone, Debug, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn of_this_process() -> Warnings {
        let warnings = Warnings::default();
        tracing::subscriber::set_global_default(warnings.clone()).unwrap();
        warnings
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
                self.0 += &format!("{value:?} ");
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// A server and its clients, each in a runtime of their own, that leave all at its default.
fn echoes_between_two_runtimes() {
    let (tell, told) = std::sync::mpsc::channel();
    let server = thread::spawn(move || {
        Runtime::new().unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let mut echoes = Vec::new();
            for _ in 0..16 {
                let (stream, _) = listener.accept().await.unwrap();
                echoes.push(runtime::spawn(async move {
                    let (got, buf) = stream.read_exact([0; 1000]).await;
                    got.unwrap();
                    stream.write_all(buf).await.0.unwrap();
                }));
            }
            for echo in echoes {
                echo.await.unwrap();
            }
        });
    });
    let addr = told.recv().unwrap();
    Runtime::new().unwrap().block_on(async {
        let clients = (0..16u8).map(|n| {
            runtime::spawn(async move {
                let stream = TcpStream::connect(addr).await.unwrap();
                stream.write_all(vec![n; 1000]).await.0.unwrap();
                let (got, buf) = stream.read_exact([0; 1000]).await;
                got.unwrap();
                assert_eq!(buf, [n; 1000]);
                stream.close().await.unwrap();
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
        // What takes a worker.
        let path = Path::new("/proc/self/status");
        let status = fs::read_to_string(path).await.unwrap();
        assert!(status.contains("Seccomp"));
    });
    server.join().unwrap();
}

fn runs_where_refused(errno: i32, kind: ErrorKind, words: &[&str]) {
    let warnings = Warnings::of_this_process();
    refuse_rings(errno);
    let insists = Builder::new().driver(DriverKind::Kernel);
    let error = insists.build().unwrap_err();
    assert_eq!(error.kind(), kind);
    assert_says(&error, words);
    let chosen = Builder::new().driver(DriverKind::Poll).build().unwrap();
    assert!(chosen.driver().refused().is_none());
    assert_eq!(warnings.all(), [""; 0], "those who choose are not warned");

    let before = fds();
    let runtime = Runtime::new().unwrap();
    assert_eq!(runtime.driver().kind(), DriverKind::Poll);
    let refused = runtime.driver().refused().expect("it was refused");
    assert_eq!(refused.kind(), kind);
    assert_says(refused, words);
    drop(runtime);
    assert_eq!(fds(), before, "the refused ring leaves nothing");
    echoes_between_two_runtimes();
    thread::spawn(echoes_between_two_runtimes).join().unwrap();

    let report = runtime::doctor();
    assert_eq!(report.driver, Ok(DriverKind::Poll));
    assert_says(&report.refused.clone().unwrap(), words);
    assert_eq!(
        report.limits.seccomp,
        Some(runtime::doctor::Seccomp::Filter)
    );
    assert!(!report.remedies.is_empty(), "{report}");

    let warnings = warnings.all();
    assert_eq!(warnings.len(), 1, "one a process: {warnings:?}");
    assert_says(&warnings[0], words);
    assert_says(&warnings[0], &["in user space", VARIABLE]);
}

fn no_reason() {
    refuse_rings(libc::EMFILE);
    let error = Runtime::new().unwrap_err();
    assert_says(&error, &["RLIMIT_NOFILE"]);
    let error = Builder::new().entries(1 << 20).build().unwrap_err();
    assert_says(&error, &["RLIMIT_NOFILE"]);
    assert!(runtime::doctor().driver.is_err());
}

fn the_variable_says_poll() {
    let warnings = Warnings::of_this_process();
    let runtime = Runtime::new().unwrap();
    assert_eq!(runtime.driver().kind(), DriverKind::Poll);
    assert!(runtime.driver().refused().is_none());
    drop(runtime);
    // It decides for those who leave the choice alone.
    match Builder::new().driver(DriverKind::Kernel).build() {
        Ok(runtime) => assert_eq!(runtime.driver().kind(), DriverKind::Kernel),
        Err(error) => skip(&error.to_string()),
    }
    echoes_between_two_runtimes();
    assert_eq!(warnings.all(), [""; 0]);
}

fn the_variable_says_kernel() {
    refuse_rings(libc::EPERM);
    let error = Runtime::new().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_says(&error, &["seccomp", "io_uring_setup"]);
    let chosen = Builder::new().driver(DriverKind::Poll).build().unwrap();
    assert_eq!(chosen.driver().kind(), DriverKind::Poll);
}

fn the_variable_says_nothing() {
    let kernels = Builder::new().driver(DriverKind::Kernel).build();
    let kind = Runtime::new().unwrap().driver().kind();
    assert_eq!(kind == DriverKind::Kernel, kernels.is_ok());
    refuse_rings(libc::EPERM);
    let kind = Runtime::new().unwrap().driver().kind();
    assert_eq!(kind, DriverKind::Poll);
}

fn the_variable_says_nonsense() {
    let error = Runtime::new().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_says(
        &error,
        &[VARIABLE, "\"Poll \"", "`auto`", "`kernel`", "`poll`"],
    );
    // It concerns nobody who chooses.
    Builder::new().driver(DriverKind::Poll).build().unwrap();
    let report = runtime::doctor();
    assert_says(&report.driver.clone().unwrap_err(), &[VARIABLE]);
    assert_says(&report, &["Poll ", "unset ANNULET_DRIVER"]);
}

/// More jobs than workers, none of which ends before somebody else has come.
fn two_workers() {
    let workers = || {
        threads()
            .iter()
            .filter(|name| name.starts_with("blocking"))
            .count()
    };
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let fifos = (0..16).map(|n| dir.path().join(n.to_string()));
    let fifos: Vec<_> = fifos
        .inspect(|fifo| rustix::fs::mkfifoat(rustix::fs::CWD, fifo, mode).unwrap())
        .collect();
    Runtime::new().unwrap().block_on(async {
        let opens = fifos.iter().map(|fifo| {
            let open = op::OpenAt::new(fifo, libc::O_RDONLY, 0).unwrap();
            runtime::spawn(Op::new(open.may_block()))
        });
        let opens: Vec<_> = opens.collect();
        submitted().await;
        for (fifo, open) in fifos.iter().zip(opens) {
            assert!(workers() <= 2, "{:?}", threads());
            let _writer = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(fifo)
                .unwrap();
            open.await.unwrap().unwrap();
        }
    });
    while workers() > 0 {
        thread::yield_now();
    }
}

#[test]
fn i1_an_unprivileged_user_without_memory_to_lock_runs_on_the_ring_that_is_left() {
    let path = concat!(
        module_path!(),
        "::i1_an_unprivileged_user_without_memory_to_lock_runs_on_the_ring_that_is_left"
    );
    if !geteuid().is_root() {
        return skip("only root can become somebody else");
    }
    apart(
        path,
        |command| {
            use std::os::unix::process::CommandExt;
            unset(command);
            command.env_remove("ANNULET_SKIPS").uid(NOBODY).gid(NOBODY);
        },
        nobody_runs,
    );
}

fn nobody_runs() {
    assert_eq!(geteuid().as_raw(), NOBODY);
    let least = Rlimit {
        current: Some(4096),
        maximum: Some(4096),
    };
    setrlimit(Resource::Memlock, least).unwrap();
    let insists = Builder::new().driver(DriverKind::Kernel).build();
    let runtime = Runtime::new().unwrap();
    match insists {
        // Not every kernel counts a ring as locked memory; 6.18 does.
        Ok(_) => assert_eq!(runtime.driver().kind(), DriverKind::Kernel),
        Err(error) => {
            assert_eq!(runtime.driver().kind(), DriverKind::Poll);
            let refused = runtime.driver().refused().expect("it was refused");
            assert_eq!(refused.to_string(), error.to_string());
        }
    }
    drop(runtime);
    assert_eq!(runtime::doctor().limits.locked_bytes, Some(4096));
    echoes_between_two_runtimes();
    refuse_rings(libc::ENOMEM);
    assert_eq!(Runtime::new().unwrap().driver().kind(), DriverKind::Poll);
    echoes_between_two_runtimes();
}

/// All that is claimed of the ring in user space, where there is no other, by programs that leave the choice alone.
#[test]
fn i1_the_whole_suite_holds_where_io_uring_is_forbidden() {
    if std::env::var_os(REFUSED).is_some() {
        return;
    }
    let _watched = watchdog(&test_name(), Duration::from_secs(600));
    let run = thread::spawn(|| {
        refuse_rings(libc::EPERM);
        let program = std::env::current_exe().unwrap();
        let suite = Command::new(program)
            .args(["::poll", "--test-threads=2"])
            .env(REFUSED, "1")
            .env_remove(VARIABLE)
            .output();
        suite.unwrap()
    });
    let run = run.join().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    // The lines it ends with are not this run's own, for those who add those up.
    let said = said.replace("test result:", "the suite's result:");
    assert!(run.status.success(), "{said}");
    let passed = said
        .split("ok. ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let passed: usize = passed
        .and_then(|n| n.parse().ok())
        .expect("it tells how many passed");
    assert!(passed > 200, "{said}");
    println!("{passed} passed where io_uring is forbidden");
}

fn i1_a_program_that_handles_sigurg_keeps_its_handler_and_a_stuck_open_holds_nothing(ring: Ring) {
    // It has interrupted calls go on: so the worker stays in its `open`.
    let heard = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGURG, heard.clone()).unwrap();
    let waits_to_be_heard = || {
        while !heard.swap(false, Ordering::SeqCst) {
            thread::yield_now();
        }
    };
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
    let before = fds();
    let runtime = ring.runtime();
    let driver = runtime.driver().clone();
    runtime.block_on(async {
        let open = op::OpenAt::new(&path, libc::O_RDONLY, 0).unwrap();
        let mut open = Op::new(open.may_block());
        assert!(poll_now(&mut open).await.is_pending());
        submitted().await;
        drop(open);
        submitted().await;
    });
    let start = Instant::now();
    drop(runtime);
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "less than its timeout"
    );
    assert_eq!((driver.metrics().in_flight, driver.metrics().live), (0, 0));
    heard.store(false, Ordering::SeqCst);
    signal_hook::low_level::raise(SIGURG).unwrap();
    waits_to_be_heard();
    // The other end: whatever the worker has opened for nobody is closed.
    let writer = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path);
    drop(writer.unwrap());
    while fds() != before {
        thread::yield_now();
    }
}

fn i1_a_stuck_worker_holds_the_shutdown_no_longer_than_its_timeout(ring: Ring) {
    let limit = Duration::from_millis(50);
    let runtime = ring.builder().shutdown_timeout(limit).build().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    // Its close waits for a peer that reads nothing.
    ours.set_nonblocking(true).unwrap();
    while io::Write::write(&mut &ours, &[0; 65_536]).is_ok() {}
    let driver = runtime.driver().clone();
    runtime.block_on(async {
        let ours = TcpStream::from_std(ours).unwrap();
        ours.set_linger(Some(Duration::from_secs(3600))).unwrap();
        let mut close = ours.close();
        assert!(poll_now(&mut close).await.is_pending());
        submitted().await;
        forget_on_purpose(close);
    });
    let start = Instant::now();
    drop(runtime);
    let took = start.elapsed();
    assert!(took >= limit && took < Duration::from_secs(30), "{took:?}");
    assert_eq!(driver.metrics().in_flight, 1, "the worker is at it still");
    drop(theirs);
}

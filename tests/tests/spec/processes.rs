//! Processes: `runtime::process`, and the operation that waits for one. What counts children is alone.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::time::Duration;

use annulet_tests::{
    Ring, driver, fds, metrics, poll_now, socket_pair, spec, submitted, threads, until,
};
use runtime::process::{Child, Command, ExitStatus, Incomplete, Stdio};
use runtime::signal::unix::{SignalKind, signal};
use runtime::{Fd, Op, Runtime, is_cancelled, op};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

spec! {
    alone async e10_sigchld_is_heard_and_std_waits_for_its_own_children;
    alone async a_hundred_children_at_once_end_as_they_say;
    async a_missing_program_is_refused_as_by_std;
    alone async a_spawn_that_fails_leaves_nothing;
    async a_wait_dropped_at_any_time_loses_no_status;
    async a_wait_says_what_std_says;
    async a_wait_that_was_dropped_has_reaped_nothing;
    async a_wait_ends_at_its_deadline_and_by_a_cancel;
    async a_wait_for_what_is_no_child_fails;
    alone a_kernel_without_waitid_polls;
    async a_child_that_ignores_sigterm_goes_on_until_it_is_killed;
    async a_child_that_closes_its_output_early_is_still_waited_for;
    async a_child_reads_the_end_of_its_input_when_it_is_waited_for;
    async large_outputs_on_both_pipes_and_a_large_input_pass_each_other;
    async a_child_that_does_not_read_its_input_is_no_error;
    async an_input_needs_a_pipe;
    alone async an_output_limit_is_of_both_pipes_and_to_the_byte;
    alone async a_timeout_kills_the_child_and_gives_what_it_had_printed;
    alone async a_timeout_covers_a_child_that_has_closed_its_outputs;
    async a_group_is_killed_with_its_leader;
    async a_group_is_killed_when_its_leader_has_ended_already;
    alone async a_dropped_child_runs_on_and_is_reaped;
    alone async a_child_is_killed_on_drop_if_it_is_asked_for;
    alone async a_capture_dropped_half_way_takes_its_child_along;
    alone a_child_that_outlives_its_runtime_is_reaped;
    alone async a_child_that_others_have_reaped_is_gone_and_nobody_else_is_hit;
    async a_child_has_no_descriptor_that_std_would_not_give_it;
    async a_child_gets_what_its_command_says;
    async output_leaves_the_command_as_it_was;
}

/// Ends when its input does.
fn cat() -> Command {
    let mut cat = Command::new("cat");
    cat.stdin(Stdio::piped()).stdout(Stdio::piped());
    cat
}

fn sh(script: &str) -> Command {
    let mut sh = Command::new("sh");
    sh.args(["-c", script]);
    sh
}

/// Whether this process has children, zombies among them.
fn has_children() -> bool {
    let any = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::All, any), Err(Errno::CHILD))
}

/// Writes a line to a child that answers with it: so it is alive.
async fn answers(child: &Child) {
    let (stdin, stdout) = (child.stdin.as_ref(), child.stdout.as_ref());
    stdin.unwrap().write_all("alive\n").await.0.unwrap();
    let (read, line) = stdout.unwrap().read_exact([0; 6]).await;
    read.unwrap();
    assert_eq!(&line, b"alive\n");
}

async fn e10_sigchld_is_heard_and_std_waits_for_its_own_children(_: Ring) {
    let mut heard = signal(SignalKind::child()).unwrap();
    let mut ours = cat().spawn().unwrap();
    let mut stds = std::process::Command::new("cat")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(ours.wait().await.unwrap().code(), Some(0));
    heard.recv().await.unwrap();
    assert_eq!(stds.try_wait().unwrap(), None);
    drop(stds.stdin.take());
    heard.recv().await.unwrap();
    drop(cat().spawn().unwrap());
    assert_eq!(stds.wait().unwrap().code(), Some(0));
    until(|| !has_children()).await;
}

async fn a_hundred_children_at_once_end_as_they_say(_: Ring) {
    let before = fds();
    let mut children: Vec<Child> = (0..100)
        .map(|code| sh(&format!("read line; exit {code}")))
        .map(|mut command| command.stdin(Stdio::piped()).spawn().unwrap())
        .collect();
    let stdins: Vec<_> = children.iter_mut().map(|c| c.stdin.take()).collect();
    let waits: Vec<_> = children
        .into_iter()
        .map(|mut child| runtime::spawn(async move { child.wait().await.unwrap().code() }))
        .collect();
    until(|| metrics().in_flight >= 100).await;
    drop(stdins);
    for (code, wait) in waits.into_iter().enumerate() {
        assert_eq!(wait.await.unwrap(), Some(i32::try_from(code).unwrap()));
    }
    assert!(!has_children());
    until(|| fds() == before).await;
}

async fn a_missing_program_is_refused_as_by_std(_: Ring) {
    for program in ["/nonexistent/program", "/", "no\0thing", ""] {
        let ours = Command::new(program).spawn().unwrap_err();
        let stds = std::process::Command::new(program).spawn().unwrap_err();
        assert_eq!(ours.kind(), stds.kind(), "{program}");
        assert_eq!(ours.raw_os_error(), stds.raw_os_error());
        let output = Command::new(program).output().await.unwrap_err();
        assert_eq!(output.kind(), stds.kind());
        let status = Command::new(program).status().await.unwrap_err();
        assert_eq!(status.kind(), stds.kind());
    }
}

async fn a_spawn_that_fails_leaves_nothing(_: Ring) {
    let before = fds();
    let piped = || {
        let mut missing = Command::new("/nonexistent/program");
        missing.stdin(Stdio::piped()).stdout(Stdio::piped());
        missing
    };
    for _ in 0..10 {
        piped().spawn().unwrap_err();
        piped().output().input("x").await.unwrap_err();
    }
    assert!(!has_children());
    assert_eq!(fds(), before);
}

async fn a_wait_dropped_at_any_time_loses_no_status(_: Ring) {
    for round in 0..40 {
        let mut child = sh(&format!("read line; exit {round}"))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        for _ in 0..round % 3 {
            assert!(poll_now(&mut pin!(child.wait())).await.is_pending());
        }
        let waiting = metrics().in_flight;
        {
            let mut wait = pin!(child.wait());
            assert!(poll_now(&mut wait).await.is_pending());
            submitted().await;
            drop(stdin);
            if round % 2 == 0 {
                // The completion is there, or just comes; nobody has asked for it.
                until(|| metrics().in_flight <= waiting).await;
            }
        }
        let status = child.wait().await.unwrap();
        assert_eq!(status.code(), Some(round));
        assert_eq!(child.wait().await.unwrap(), status);
        assert_eq!(child.try_wait().unwrap(), Some(status));
    }
}

/// Waits by the operation alone.
async fn waited(child: &std::process::Child) -> io::Result<ExitStatus> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let by_pidfd = Op::on(&Fd::new(pidfd), op::WaitId::pidfd()).await?;
    let by_pid = Op::new(op::WaitId::pid(child.id())).await?;
    assert_eq!(by_pidfd, by_pid);
    Ok(by_pid)
}

async fn a_wait_says_what_std_says(_: Ring) {
    for script in [
        "exit 0",
        "exit 1",
        "exit 255",
        "kill -TERM $$",
        "kill -KILL $$",
        "ulimit -c 0; kill -SEGV $$",
        "ulimit -c unlimited; kill -ABRT $$",
    ] {
        // For the core file of the last one.
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sh")
            .args(["-c", script])
            .current_dir(dir.path())
            .spawn()
            .unwrap();
        let status = waited(&child).await.unwrap();
        assert_eq!(status, child.wait().unwrap(), "{script}");
    }
}

async fn a_wait_that_was_dropped_has_reaped_nothing(_: Ring) {
    for _ in 0..100 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let mut wait = Op::new(op::WaitId::pid(child.id()));
        assert!(poll_now(&mut wait).await.is_pending());
        drop(wait);
        submitted().await;
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

async fn a_wait_ends_at_its_deadline_and_by_a_cancel(_: Ring) {
    let mut child = cat().spawn().unwrap();
    let pid = child.id().unwrap();
    let limited = Op::new(op::WaitId::pid(pid)).timeout(Duration::from_millis(1));
    assert_eq!(limited.await.unwrap_err().kind(), ErrorKind::TimedOut);
    let token = runtime::CancelToken::new();
    let mut cancelled = Op::new(op::WaitId::pid(pid)).cancel_with(&token);
    assert!(poll_now(&mut cancelled).await.is_pending());
    submitted().await;
    token.cancel();
    assert!(is_cancelled(&cancelled.await.unwrap_err()));
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

async fn a_wait_for_what_is_no_child_fails(_: Ring) {
    let init = Op::new(op::WaitId::pid(1)).await.unwrap_err();
    assert_eq!(init.raw_os_error(), Some(libc::ECHILD));
    let (socket, _other) = socket_pair();
    let no_pidfd = Op::on(&socket, op::WaitId::pidfd()).await.unwrap_err();
    assert_eq!(no_pidfd.raw_os_error(), Some(libc::EBADF));
    Op::new(op::WaitId::pidfd()).await.unwrap_err();
}

fn a_kernel_without_waitid_polls(ring: Ring) {
    // IORING_OP_WAITID.
    let runtime = ring.builder().without([50]).build().unwrap();
    runtime.block_on(async {
        assert!(!driver().supports(50));
        let mut child = cat().spawn().unwrap();
        let op = Op::new(op::WaitId::pid(child.id().unwrap()));
        let error = op.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("IORING_OP_WAITID"), "{error}");
        let stdin = child.stdin.take();
        for _ in 0..3 {
            assert!(poll_now(&mut pin!(child.wait())).await.is_pending());
            submitted().await;
        }
        drop(stdin);
        assert_eq!(child.wait().await.unwrap().code(), Some(0));
        let output = sh("echo all; exit 3").output().await.unwrap();
        assert_eq!(
            (output.stdout, output.status.code()),
            (b"all\n".to_vec(), Some(3))
        );
    });
    drop(runtime);
    assert!(!has_children());
}

async fn a_child_that_ignores_sigterm_goes_on_until_it_is_killed(_: Ring) {
    let mut child = sh("trap '' TERM; exec cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    answers(&child).await;
    child.signal(SignalKind::terminate()).unwrap();
    answers(&child).await;
    assert_eq!(child.try_wait().unwrap(), None);
    let no_such = child.signal(SignalKind::from_raw(1000)).unwrap_err();
    assert_eq!(no_such.kind(), ErrorKind::InvalidInput);
    child.kill().await.unwrap();
    assert_eq!(child.wait().await.unwrap().signal(), Some(libc::SIGKILL));
    // It has ended; its number is not used any more.
    child.start_kill().unwrap();
    child.signal(SignalKind::hangup()).unwrap();
}

async fn a_child_that_closes_its_output_early_is_still_waited_for(_: Ring) {
    let script = "exec >&- 2>&-; read line; exit 7";
    let mut child = sh(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    assert_eq!(stdout.read([0; 8]).await.0.unwrap(), 0);
    assert_eq!(child.try_wait().unwrap(), None);
    assert_eq!(child.wait().await.unwrap().code(), Some(7));
    let output = sh(script).output().input("line\n").await.unwrap();
    assert_eq!(output.status.code(), Some(7));
}

async fn a_child_reads_the_end_of_its_input_when_it_is_waited_for(_: Ring) {
    let mut child = cat().spawn().unwrap();
    answers(&child).await;
    assert!(child.wait().await.unwrap().success());
    let child = cat().spawn().unwrap();
    assert!(child.wait_with_output().await.unwrap().status.success());
}

async fn large_outputs_on_both_pipes_and_a_large_input_pass_each_other(_: Ring) {
    let input: Vec<u8> = (0..4_000_000u32).map(|i| (i % 251) as u8).collect();
    let mut tee = Command::new("tee");
    tee.arg("/dev/stderr");
    let output = tee.output().input(input.clone()).await.unwrap();
    assert!(output.status.success());
    assert!(output.stdout == input && output.stderr == input);
}

async fn a_child_that_does_not_read_its_input_is_no_error(_: Ring) {
    let mut deaf = sh("exec <&-; echo done");
    let output = deaf.output().input(vec![0; 1 << 20]).await.unwrap();
    assert_eq!(output.stdout, b"done\n");
}

async fn an_input_needs_a_pipe(_: Ring) {
    let mut command = Command::new("true");
    command.stdin(Stdio::null());
    let error = command.output().input("x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    command.stdin(Stdio::piped());
    assert!(command.output().input("x").await.is_ok());
}

async fn an_output_limit_is_of_both_pipes_and_to_the_byte(_: Ring) {
    let before = fds();
    let mut command = sh("printf 12345; printf abcde >&2");
    let output = command.output().output_limit(10).await.unwrap();
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b"12345"[..], &b"abcde"[..])
    );
    let error = command.output().output_limit(9).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    let output = error.downcast::<Incomplete>().unwrap().into_output();
    assert_eq!(output.stdout.len() + output.stderr.len(), 9);
    // It goes on for ever, and its other output and its input are stuck meanwhile.
    let mut endless = sh("while :; do echo y; done; cat");
    let capture = endless.output().input(vec![0; 1 << 20]);
    let error = capture.output_limit(1_000_000).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    let output = Incomplete::of(&error).unwrap();
    assert_eq!(output.stdout.len(), 1_000_000);
    assert_eq!(output.status.signal(), Some(libc::SIGKILL));
    assert!(!has_children());
    until(|| fds() == before).await;
}

async fn a_timeout_kills_the_child_and_gives_what_it_had_printed(_: Ring) {
    let before = fds();
    let mut child = sh("echo first; echo second >&2; exec cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // What is read before is not the capture's.
    let (read, line) = child.stdout.as_ref().unwrap().read_exact([0; 6]).await;
    read.unwrap();
    assert_eq!(&line, b"first\n");
    let stdin = child.stdin.take().unwrap();
    stdin.write_all("third\n").await.0.unwrap();
    // All is printed, and waits in the pipes.
    for pipe in [&child.stdout, &child.stderr] {
        let pipe = pipe.as_ref().unwrap().as_fd().try_clone_to_owned().unwrap();
        let readable = op::PollAdd::new(op::Events::READ);
        Op::on(&Fd::new(pipe), readable).await.unwrap();
    }
    let capture = child.wait_with_output().timeout(Duration::from_millis(20));
    let error = capture.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let output = Incomplete::of(&error).unwrap();
    assert_eq!(output.stdout, b"third\n");
    assert_eq!(output.stderr, b"second\n");
    assert_eq!(output.status.signal(), Some(libc::SIGKILL));
    assert!(!has_children());
    drop(stdin);
    until(|| fds() == before).await;
    // A deadline that has passed, of one that does not end by itself.
    let mut late = sh("kill -STOP $$");
    let past = late.output().deadline(std::time::Instant::now());
    assert_eq!(past.await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(!has_children());
}

async fn a_timeout_covers_a_child_that_has_closed_its_outputs(_: Ring) {
    let mut silent = sh("exec >&- 2>&-; exec sleep 3600");
    let error = silent.output().timeout(Duration::from_millis(50)).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(!has_children());
}

/// A command all of whose processes hold the pipe's end; it reads the end when the last of them is gone.
async fn watched(script: &str) -> (Command, runtime::fs::PipeReader) {
    let (reader, writer) = runtime::fs::pipe().unwrap();
    let mut command = sh(script);
    command.kill_group(true);
    command.stderr(writer.into_std().await.unwrap());
    (command, reader)
}

async fn a_group_is_killed_with_its_leader(_: Ring) {
    let (mut command, alive) = watched("sleep 3600 & sleep 3600 | sleep 3600").await;
    let capture = command.output().timeout(Duration::from_millis(50));
    assert_eq!(capture.await.unwrap_err().kind(), ErrorKind::TimedOut);
    drop(command);
    assert_eq!(alive.read([0; 1]).await.0.unwrap(), 0);

    let (mut command, alive) = watched("sleep 3600 & sleep 3600").await;
    drop(command.kill_on_drop(true).spawn().unwrap());
    drop(command);
    assert_eq!(alive.read([0; 1]).await.0.unwrap(), 0);
}

async fn a_group_is_killed_when_its_leader_has_ended_already(_: Ring) {
    let (mut command, alive) = watched("sleep 3600 & exit 5").await;
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let leader = Op::new(op::WaitId::pid(child.id().unwrap()));
    assert_eq!(leader.await.unwrap().code(), Some(5));
    // The output is not ended: the other one holds it.
    let capture = child.wait_with_output().timeout(Duration::from_millis(20));
    let error = capture.await.unwrap_err();
    assert_eq!(Incomplete::of(&error).unwrap().status.code(), Some(5));
    drop(command);
    assert_eq!(alive.read([0; 1]).await.0.unwrap(), 0);
}

async fn a_dropped_child_runs_on_and_is_reaped(_: Ring) {
    let before = (fds(), threads());
    for _ in 0..3 {
        let mut pipes = Vec::new();
        for _ in 0..10 {
            let mut child = cat().spawn().unwrap();
            pipes.push((child.stdin.take().unwrap(), child.stdout.take().unwrap()));
            drop(child);
        }
        // The last ones first.
        while let Some((stdin, stdout)) = pipes.pop() {
            stdin.write_all("on").await.0.unwrap();
            assert_eq!(stdout.read([0; 8]).await.0.unwrap(), 2);
            assert!(has_children());
        }
        until(|| !has_children()).await;
        until(|| (fds(), threads()) == before).await;
    }
}

async fn a_child_is_killed_on_drop_if_it_is_asked_for(_: Ring) {
    let before = (fds(), threads());
    let mut command = cat();
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    drop(child);
    assert_eq!(stdout.read([0; 8]).await.0.unwrap(), 0);
    drop((stdin, stdout));
    // One that was waited for is not killed, whoever has its number.
    let mut child = command.spawn().unwrap();
    child.wait().await.unwrap();
    drop(child);
    until(|| !has_children()).await;
    until(|| (fds(), threads()) == before).await;
}

async fn a_capture_dropped_half_way_takes_its_child_along(_: Ring) {
    let before = (fds(), threads());
    for _ in 0..10 {
        let mut command = sh("echo; exec sleep 3600");
        command.kill_on_drop(true);
        let mut capture = command.output().into_future();
        assert!(poll_now(&mut capture).await.is_pending());
        submitted().await;
        drop(capture);
    }
    until(|| !has_children()).await;
    until(|| (fds(), threads()) == before).await;
}

fn a_child_that_outlives_its_runtime_is_reaped(ring: Ring) {
    let before = (fds(), threads());
    let runtime: Runtime = ring.runtime();
    let (stdin, child) = runtime.block_on(async {
        let mut child = cat().spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut waiting = cat().spawn().unwrap();
        let held = waiting.stdin.take().unwrap();
        runtime::spawn(async move {
            // Dropped with the runtime.
            waiting.wait().await.unwrap();
            drop(held);
        });
        runtime::yield_now().await;
        submitted().await;
        (stdin, child)
    });
    drop(runtime);
    drop(stdin);
    // Outside of any runtime.
    drop(child);
    let mut left = ring.runtime().block_on(async { cat().spawn().unwrap() });
    drop(left.stdin.take());
    drop(left);
    while has_children() || (fds(), threads()) != before {
        std::thread::yield_now();
    }
}

async fn a_child_that_others_have_reaped_is_gone_and_nobody_else_is_hit(_: Ring) {
    let mut child = cat().kill_on_drop(true).spawn().unwrap();
    child.stdin.take().unwrap().close().await.unwrap();
    waitid(WaitId::All, WaitIdOptions::EXITED).unwrap();
    let waited = child.wait().await.unwrap_err();
    assert_eq!(waited.raw_os_error(), Some(libc::ECHILD));
    let killed = child.start_kill().unwrap_err();
    assert_eq!(killed.raw_os_error(), Some(libc::ESRCH));
    drop(child);
    assert!(!has_children());
}

async fn a_child_has_no_descriptor_that_std_would_not_give_it(_: Ring) {
    let (_reader, _writer) = runtime::fs::pipe().unwrap();
    let _other = cat().spawn().unwrap();
    let _listener = signal(SignalKind::user_defined2()).unwrap();
    let list = "ls /proc/self/fd";
    let ours = sh(list).output().await.unwrap();
    let stds = std::thread::spawn(move || {
        let mut sh = std::process::Command::new("sh");
        sh.args(["-c", list]).output().unwrap()
    });
    assert_eq!(ours.stdout, stds.join().unwrap().stdout);
}

async fn a_child_gets_what_its_command_says(_: Ring) {
    let mut command = Command::new("/bin/sh");
    command
        .arg0("shell")
        .args([
            "-c",
            "echo $0 $ONE $TWO $THREE; pwd; cat; cut -d' ' -f5 /proc/$$/stat; echo $$",
        ])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .envs([("ONE", "1"), ("TWO", "2"), ("THREE", "3")])
        .env_remove("TWO")
        .current_dir("/")
        .process_group(0)
        .stdin(std::fs::File::open("/dev/null").unwrap());
    let output = command.output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(lines[..2], ["shell 1 3", "/"]);
    assert_eq!(lines[2], lines[3], "it leads a group of its own");
}

async fn output_leaves_the_command_as_it_was(_: Ring) {
    let mut command = sh("exit 4");
    for _ in 0..2 {
        assert_eq!(command.output().await.unwrap().status.code(), Some(4));
        let mut child = command.spawn().unwrap();
        assert!(child.stdin.is_none() && child.stdout.is_none() && child.stderr.is_none());
        assert_eq!(child.wait().await.unwrap().code(), Some(4));
        assert_eq!(command.status().await.unwrap().code(), Some(4));
    }
}

//! What the kernel is asked for, as strace counts it: nothing while nothing happens, two enters an echo.
//!
//! A server runs under strace twice, the second time with more to do (or more time to do nothing in); what it needed
//! for that is the difference. What counts are the calls from when it begins to serve until it has served, on all
//! threads but the two that only watch the test: these go to sleep some time after they have started it, and when is
//! chance.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use annulet_tests::{Ring, skip, spec, tcp_listener, test_name};
use runtime::{Fd, Op, op};

spec! {
    an_idle_server_makes_no_system_call on kernel, plain;
    an_echo_takes_two_enters_or_one_and_a_send_and_no_other_call on kernel, plain;
}

/// Tells this program, started once more, that it is the server.
const SERVE: &str = "ANNULET_SERVE";
/// The call by which the server marks in its trace where it begins to serve and where it has served: it does nothing,
/// and nobody else makes it.
const MARK: &str = "getppid";
/// What one more turn may take: not one call for each thing done.
const A_FEW: u64 = 3;

/// Echoes one connection, having said where to connect to.
fn serve(ring: Ring) {
    ring.runtime().block_on(async {
        let (listener, address) = tcp_listener();
        println!("\nport {}", address.port());
        let _ = std::os::unix::process::parent_id();
        let (socket, _) = Op::on(&listener, op::Accept::new()).await.unwrap();
        let socket = Fd::new(socket);
        let mut buf = vec![0; 64];
        loop {
            let (got, back) = Op::on(&socket, op::Recv::new(buf)).await;
            if got.unwrap() == 0 {
                break;
            }
            buf = Op::on(&socket, op::SendAll::new(back)).await.1;
        }
        let _ = std::os::unix::process::parent_id();
    });
}

type Calls = BTreeMap<String, u64>;

/// Runs the server under strace, `client` against it, and returns the calls it made; `None`: no strace here.
fn calls_of_a_server(client: impl FnOnce(&mut TcpStream)) -> Option<Calls> {
    let name = test_name();
    let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name.replace("::", "-"));
    let mut server = Command::new("strace")
        .args(["-f", "-o"])
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args([&*name, "--exact", "--nocapture", "--test-threads=1"])
        .env(SERVE, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| skip(&format!("strace cannot be run: {error}")))
        .ok()?;
    let mut lines = BufReader::new(server.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let port = lines.find_map(|line| line.strip_prefix("port ")?.parse::<u16>().ok());
    let Some(port) = port else {
        let output = server.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let refused =
            said.contains("PTRACE") || said.contains("ptrace") || output.status.signal().is_some();
        assert!(refused, "the server did not start: {said}");
        skip(&format!("strace may not trace: {said}"));
        return None;
    };
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    client(&mut stream);
    drop(stream);
    lines.for_each(drop);
    assert!(server.wait().unwrap().success());
    let trace = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(log).unwrap();
    let calls = calls_while_serving(&trace);
    assert!(
        calls.contains_key("io_uring_enter"),
        "no such calls: {trace}"
    );
    Some(calls)
}

/// What a trace has between the two marks: lines of a thread's number and a call, `7 read(3, ...) = 1`, of which the
/// second half is another line (`7 <... read resumed>`) if another thread's came between.
fn calls_while_serving(trace: &str) -> Calls {
    let lines = || trace.lines().filter_map(|line| line.split_once(' '));
    // The first thread of all is the harness's, which executed the program.
    let (harness, _) = lines().next().expect("a trace has lines");
    let named = |(_, call): &(&str, &str)| call.contains("PR_SET_NAME, \"watchdog\"");
    let watchdog = lines().find(named).map(|(thread, _)| thread);
    let calls = lines().filter(|(thread, _)| *thread != harness && Some(*thread) != watchdog);
    let mut names = calls.filter_map(|(_, call)| Some(call.trim_start().split_once('(')?.0));
    assert!(names.any(|name| name == MARK), "no mark: {trace}");
    let mut calls = Calls::new();
    for name in names.take_while(|name| *name != MARK) {
        if !name.starts_with('<') && !name.starts_with('+') && !name.starts_with('-') {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    calls
}

/// What `more` needed that `less` did not.
fn difference(less: &Calls, more: &Calls) -> Calls {
    let more = more.iter().map(|(name, count)| {
        (
            name.clone(),
            count.saturating_sub(less.get(name).copied().unwrap_or(0)),
        )
    });
    more.filter(|(_, count)| *count > 0).collect()
}

fn echo(stream: &mut TcpStream, times: usize) {
    for _ in 0..times {
        stream.write_all(&[7; 64]).unwrap();
        stream.read_exact(&mut [0; 64]).unwrap();
    }
}

fn an_idle_server_makes_no_system_call(ring: Ring) {
    if std::env::var_os(SERVE).is_some() {
        return serve(ring);
    }
    let idle_for = |time| {
        calls_of_a_server(|stream| {
            echo(stream, 1);
            // Not to order anything: this is the time in which nothing happens.
            ring.runtime().block_on(runtime::time::sleep(time));
            echo(stream, 1);
        })
    };
    let Some(brief) = idle_for(Duration::ZERO) else {
        return;
    };
    let Some(long) = idle_for(Duration::from_millis(500)) else {
        return;
    };
    let idle = difference(&brief, &long);
    assert!(idle.values().sum::<u64>() <= A_FEW, "while idle: {idle:?}");
}

fn an_echo_takes_two_enters_or_one_and_a_send_and_no_other_call(ring: Ring) {
    if std::env::var_os(SERVE).is_some() {
        return serve(ring);
    }
    let Some(few) = calls_of_a_server(|stream| echo(stream, 100)) else {
        return;
    };
    let Some(many) = calls_of_a_server(|stream| echo(stream, 1100)) else {
        return;
    };
    let mut echoes = difference(&few, &many);
    let enters = echoes.remove("io_uring_enter").unwrap_or(0);
    // The ring on which nothing is tried by a call is the one named so.
    let sends = echoes.remove("sendto").unwrap_or(0);
    let expected = if ring.name == "plain" { 0 } else { 1000 };
    assert!(sends.abs_diff(expected) <= A_FEW, "{sends} sends");
    assert!(
        enters + sends <= 2 * 1000 + A_FEW,
        "{enters} enters and {sends} sends for 1000 echoes"
    );
    assert!(echoes.is_empty(), "besides: {echoes:?}");
}

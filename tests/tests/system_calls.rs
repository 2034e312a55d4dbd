//! What the kernel is asked for, as strace counts it: nothing while nothing happens, two enters an echo.
//!
//! A server runs under strace twice, the second time with more to do (or more time to do nothing in); what it needed
//! for that is the difference. So neither its start nor its end counts.

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
    an_echo_takes_two_enters_and_no_other_call on kernel, plain;
}

/// Tells this program, started once more, that it is the server.
const SERVE: &str = "ANNULET_SERVE";
/// Calls that another thread of the test program may make, or one more turn: not one for each thing done.
const A_FEW: u64 = 3;

/// Echoes one connection, having said where to connect to.
fn serve(ring: Ring) {
    ring.runtime().block_on(async {
        let (listener, address) = tcp_listener();
        println!("\nport {}", address.port());
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
    });
}

type Calls = BTreeMap<String, u64>;

/// Runs the server under strace, `client` against it, and returns the calls it made; `None`: no strace here.
fn calls_of_a_server(client: impl FnOnce(&mut TcpStream)) -> Option<Calls> {
    let name = test_name();
    let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name.replace("::", "-"));
    let mut server = Command::new("strace")
        .args(["-f", "-c", "-U", "calls,name", "-o"])
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
    let table = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(log).unwrap();
    let calls: Calls = table
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let count = words.next()?.parse().ok()?;
            Some((words.next()?.to_owned(), count)).filter(|(name, _)| name != "total")
        })
        .collect();
    assert!(
        calls.contains_key("io_uring_enter"),
        "no table of calls: {table}"
    );
    Some(calls)
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

fn an_echo_takes_two_enters_and_no_other_call(ring: Ring) {
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
    assert!(
        enters <= 2 * 1000 + A_FEW,
        "{enters} enters for 1000 echoes"
    );
    assert!(echoes.values().sum::<u64>() <= A_FEW, "besides: {echoes:?}");
}

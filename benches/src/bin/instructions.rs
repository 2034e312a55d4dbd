//! Fixed amounts of work, to be counted from outside: under `valgrind --tool=callgrind`, `strace -c`, or a clock.
//!
//! `instructions WORKLOAD [--at-once TASKS] [--rounds ROUNDS]`; the difference of two lengths is what the rounds between
//! cost. See docs/PERFORMANCE.md.
#![forbid(unsafe_code)]

use std::error::Error;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::TcpStream as Blocking;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use futures_channel::mpsc::unbounded;
use lexopt::prelude::*;
use runtime::fs::File;
use runtime::net::{TcpListener, TcpStream, UnixStream};
use runtime::op::Nop;
use runtime::{Op, chain};
use rustix::net::sockopt;

/// Connections of `idle`: two descriptors each, and 20,000 are a common limit.
const IDLE: usize = 9_500;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut workload, mut at_once, mut rounds) = (String::new(), 1, 10_000);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("at-once") => at_once = arguments.value()?.parse()?,
            Long("rounds") => rounds = arguments.value()?.parse()?,
            Value(value) if workload.is_empty() => workload = value.string()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let runtime = runtime::Runtime::new()?;
    runtime.block_on(async {
        match &*workload {
            "nop" => tasks((0..at_once).map(|_| nop(rounds))).await,
            "pair" => {
                let ends = pairs(at_once)?;
                tasks(ends.map(|(end, first)| ping_pong(end, first, rounds))).await
            }
            "recv" => {
                let ends = pairs(at_once)?;
                tasks(ends.map(|(end, first)| recv(end, first, rounds))).await
            }
            "chunks" => {
                let ends = pairs(at_once)?;
                tasks(ends.map(|(end, first)| chunks(end, first, rounds))).await
            }
            "read" => {
                let file = Rc::new(scratch().await?);
                tasks((0..at_once).map(|_| read(Rc::clone(&file), rounds))).await
            }
            "spawn" => spawn(at_once, rounds).await,
            "yield" => tasks((0..at_once).map(|_| give_way(rounds))).await,
            "churn" => churn(at_once, rounds).await,
            "chain" => chains(rounds).await,
            "wake" => wake(rounds).await,
            "pipe" => pipe(rounds).await,
            "idle" => idle().await,
            _ => Err(io::Error::other(
                "nop, pair, recv, chunks, pipe, read, spawn, yield, churn, chain, wake or idle?",
            )),
        }
    })?;
    Ok(())
}

/// Runs tasks beside each other to their ends.
async fn tasks<F>(tasks: impl Iterator<Item = F>) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let tasks: Vec<_> = tasks.map(runtime::spawn).collect();
    for task in tasks {
        task.await.expect("the task does not panic")?;
    }
    Ok(())
}

async fn nop(rounds: usize) -> io::Result<()> {
    for _ in 0..rounds {
        Op::new(Nop::new()).await?;
    }
    Ok(())
}

async fn give_way(rounds: usize) -> io::Result<()> {
    for _ in 0..rounds {
        runtime::yield_now().await;
    }
    Ok(())
}

/// Tasks spawned and joined, so many at a time.
async fn spawn(at_once: usize, rounds: usize) -> io::Result<()> {
    let mut tasks = Vec::with_capacity(at_once);
    for _ in 0..rounds {
        tasks.extend((0..at_once).map(|n| runtime::spawn(async move { n })));
        for (n, task) in tasks.drain(..).enumerate() {
            assert_eq!(task.await?, n);
        }
    }
    Ok(())
}

/// Four no-ops linked.
async fn chains(rounds: usize) -> io::Result<()> {
    let nop = || Op::new(Nop::new());
    for _ in 0..rounds {
        let (one, two, three, four) = chain((nop(), nop(), nop(), nop())).await;
        one.and(two).and(three).and(four)?;
    }
    Ok(())
}

/// A number through a channel to another thread, and back; each sleeps while it waits.
async fn wake(rounds: usize) -> io::Result<()> {
    let (to, mut there) = unbounded();
    let (back, mut from) = unbounded();
    let other = thread::spawn(move || {
        runtime::block_on(async {
            while let Ok(number) = there.recv().await {
                back.unbounded_send(number).expect("it is waited for");
            }
        })
    });
    for round in 0..rounds {
        to.unbounded_send(round).expect("the other listens");
        assert_eq!(from.recv().await, Ok(round));
    }
    drop(to);
    other.join().expect("the other does not panic")
}

/// The ends of socket pairs, and whether each is to speak first.
fn pairs(count: usize) -> io::Result<impl Iterator<Item = (UnixStream, bool)>> {
    let mut ends = Vec::new();
    for _ in 0..count {
        let (a, b) = UnixStream::pair()?;
        ends.extend([(a, true), (b, false)]);
    }
    Ok(ends.into_iter())
}

/// Sends 64 bytes to and fro: four operations a round, of both ends together.
async fn ping_pong(end: UnixStream, first: bool, rounds: usize) -> io::Result<()> {
    let mut buf = vec![7; 64];
    let (mut sent, mut received) = (0, 0);
    let mut sending = first;
    while sent + received < 2 * rounds {
        let (moved, back) = if sending {
            end.write(buf).await
        } else {
            end.read(buf).await
        };
        assert_eq!(moved?, 64, "a pair moves small messages whole");
        buf = back;
        *(if sending { &mut sent } else { &mut received }) += 1;
        sending = !sending;
    }
    Ok(())
}

/// As [`ping_pong`], received into the runtime's buffers and sent on from there.
async fn recv(end: UnixStream, first: bool, rounds: usize) -> io::Result<()> {
    if first {
        end.write([7; 64]).await.0?;
    }
    for round in 1..=rounds {
        let chunk = end.recv().await?;
        assert_eq!(chunk.len(), 64, "a pair moves small messages whole");
        if !first || round < rounds {
            end.write(chunk).await.0?;
        }
    }
    Ok(())
}

/// The same by one submission for all that is received.
async fn chunks(end: UnixStream, first: bool, rounds: usize) -> io::Result<()> {
    if first {
        end.write([7; 64]).await.0?;
    }
    let mut chunks = end.chunks();
    for round in 1..=rounds {
        let chunk = chunks.next().await.expect("the other end goes on")?;
        assert_eq!(chunk.len(), 64, "a pair moves small messages whole");
        if !first || round < rounds {
            end.write(chunk).await.0?;
        }
    }
    Ok(())
}

/// A byte written into a pipe and read from there.
async fn pipe(rounds: usize) -> io::Result<()> {
    let (reader, writer) = runtime::fs::pipe()?;
    let mut byte = [7];
    for _ in 0..rounds {
        let (written, back) = writer.write(byte).await;
        assert_eq!(written?, 1);
        let (read, back) = reader.read(back).await;
        assert_eq!(read?, 1);
        byte = back;
    }
    Ok(())
}

/// Connections that say a byte, hear it and are closed, so many at a time. Their other ends are made by calls in between.
async fn churn(at_once: usize, rounds: usize) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let to = listener.local_addr()?;
    let mut incoming = listener.incoming();
    let mut clients = Vec::with_capacity(at_once);
    let mut tasks = Vec::with_capacity(at_once);
    for _ in 0..rounds {
        for _ in 0..at_once {
            // The backlog takes it: nobody waits.
            let mut client = Blocking::connect(to)?;
            // Closed by a reset: else the addresses would be used up soon.
            sockopt::set_socket_linger(&client, Some(Duration::ZERO))?;
            client.write_all(&[7])?;
            clients.push(client);
        }
        for _ in 0..at_once {
            let stream = incoming.next().await.expect("the listener is open")?;
            stream.set_nodelay(true)?;
            tasks.push(runtime::spawn(once(stream)));
        }
        for task in tasks.drain(..) {
            task.await.expect("the task does not panic")?;
        }
        for mut client in clients.drain(..) {
            let mut byte = [0];
            client.read_exact(&mut byte)?;
            assert_eq!(byte, [7]);
        }
    }
    Ok(())
}

async fn once(stream: TcpStream) -> io::Result<()> {
    let chunk = stream.recv().await?;
    stream.write_all(chunk).await.0
}

async fn scratch() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("instructions-{}", std::process::id()));
    std::fs::write(&path, vec![7; 4096])?;
    let file = File::open(&path).await;
    std::fs::remove_file(&path)?;
    file
}

/// Reads what is in the page cache, 4 KiB at a time.
async fn read(file: Rc<File>, rounds: usize) -> io::Result<()> {
    let mut buf = Vec::with_capacity(4096);
    for _ in 0..rounds {
        buf.clear();
        let (moved, back) = file.read_at(buf, 0).await;
        assert_eq!(moved?, 4096, "a cached page is read whole");
        buf = back;
    }
    Ok(())
}

/// What an accepted connection costs whose task waits for a byte.
async fn idle() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let to = listener.local_addr()?;
    let mut clients = Vec::with_capacity(2 * IDLE);
    accept(&listener, to, &mut clients, 64).await?;
    let before = resident()?;
    accept(&listener, to, &mut clients, IDLE).await?;
    let after = resident()?;
    println!("{} bytes a connection", (after - before) / IDLE);
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    to: std::net::SocketAddr,
    clients: &mut Vec<Blocking>,
    count: usize,
) -> io::Result<()> {
    for _ in 0..count {
        // The backlog takes it: nobody waits.
        clients.push(Blocking::connect(to)?);
        let (stream, _) = listener.accept().await?;
        runtime::spawn(async move {
            let (read, _) = stream.read(Vec::with_capacity(64)).await;
            read
        });
    }
    runtime::task::yield_now().await;
    Ok(())
}

/// Bytes of resident memory, of the kind that only this process has.
fn resident() -> io::Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    let kib = kib.and_then(|kib| kib.parse::<usize>().ok());
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other("no RssAnon in /proc/self/status"))
}

//! What does an event cost? One pipe; each event, a byte is read from it and one written to it; one handler, called once a
//! round. By readiness and by reads and writes of the ring's, against `poll(2)` and epoll written plainly, and Tokio.
//!
//! `cargo bench -p annulet-benches --bench pipe -- [--rounds N] [--events N] [--only NAME]`
//!
//! Not criterion's, as it is the ratios that count: the contenders take turns, so that whatever else the machine does hits
//! all of them, and ratios are taken within a round.
#![allow(unsafe_code, reason = "the ring by hand takes entries unchecked")]

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use annulet_benches::cores;
use io_uring::{IoUring, opcode, types};
use lexopt::{Arg, Parser, ValueExt};
use runtime::fs::{PipeReader, PipeWriter};
use runtime::io::{AsyncFd, Interest};
use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::io::{ioctl_fionbio, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::{ClockId, clock_gettime};

/// Handles so many events and says what they have cost.
type Contender = fn(u64) -> io::Result<Cost>;

const CONTENDERS: [(&str, Contender); 8] = [
    ("poll(2)", by_poll),
    ("epoll", by_epoll),
    ("annulet, readiness", by_readiness),
    ("annulet, read/write", by_reads_and_writes),
    ("annulet, ring only", by_ring),
    ("tokio, readiness", by_tokio),
    ("by hand, readiness", by_hand_readiness),
    ("by hand, read/write", by_hand_ring),
];
/// The one that the ratios are to.
const PLAIN: &str = "epoll";

#[derive(Clone, Copy)]
struct Cost {
    elapsed: Duration,
    cpu: Duration,
}

/// Measures from here to [`Clock::cost`], on this thread.
struct Clock {
    begun: Instant,
    cpu: Duration,
}

impl Clock {
    fn start() -> Clock {
        Clock {
            cpu: cpu(),
            begun: Instant::now(),
        }
    }

    fn cost(self) -> Cost {
        Cost {
            elapsed: self.begun.elapsed(),
            cpu: cpu() - self.cpu,
        }
    }
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// A pipe with a byte in it.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    write(&writer, b"x")?;
    Ok((reader, writer))
}

/// What every handler does, but for those of the ring's.
fn handle(reader: impl AsFd, writer: impl AsFd) -> io::Result<()> {
    let mut byte = [0];
    if read(reader, &mut byte)? != 1 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    write(writer, &byte)?;
    Ok(())
}

fn by_poll(events: u64) -> io::Result<Cost> {
    let (reader, writer) = pipe()?;
    let clock = Clock::start();
    for _ in 0..events {
        let mut fds = [PollFd::new(&reader, PollFlags::IN)];
        poll(&mut fds, None)?;
        if fds[0].revents().contains(PollFlags::IN) {
            handle(&reader, &writer)?;
        }
    }
    Ok(clock.cost())
}

fn by_epoll(events: u64) -> io::Result<Cost> {
    let (reader, writer) = pipe()?;
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let data = epoll::EventData::new_u64(0);
    epoll::add(&set, &reader, data, epoll::EventFlags::IN)?;
    let nothing = epoll::Event {
        flags: epoll::EventFlags::empty(),
        data,
    };
    let clock = Clock::start();
    for _ in 0..events {
        let mut ready = [nothing; 1];
        if epoll::wait(&set, &mut ready, None)? == 1 {
            handle(&reader, &writer)?;
        }
    }
    Ok(clock.cost())
}

fn by_readiness(events: u64) -> io::Result<Cost> {
    let (reader, writer) = pipe()?;
    ioctl_fionbio(&reader, true)?;
    runtime::Runtime::new()?.block_on(async {
        let reader = AsyncFd::new(reader);
        let clock = Clock::start();
        for _ in 0..events {
            let handle = |reader: &OwnedFd| handle(reader, &writer);
            reader.async_io(Interest::READABLE, handle).await?;
        }
        Ok(clock.cost())
    })
}

fn by_reads_and_writes(events: u64) -> io::Result<Cost> {
    read_and_write(&runtime::Runtime::new()?, events)
}

/// Without trying anything before the ring is asked.
fn by_ring(events: u64) -> io::Result<Cost> {
    read_and_write(&runtime::Builder::new().attempts(false).build()?, events)
}

fn read_and_write(runtime: &runtime::Runtime, events: u64) -> io::Result<Cost> {
    let (reader, writer) = pipe()?;
    runtime.block_on(async {
        let reader = PipeReader::from_std(reader.into())?;
        let writer = PipeWriter::from_std(writer.into())?;
        let clock = Clock::start();
        let mut byte = [0; 1];
        reader.read(byte).await.0?;
        for _ in 1..events {
            // The answer and the next read go to the kernel together.
            let (mut write, mut read) = (writer.write(byte), reader.read([0; 1]));
            let (mut written, mut got) = (None, None);
            poll_fn(|cx| {
                if written.is_none()
                    && let Poll::Ready(done) = Pin::new(&mut write).poll(cx)
                {
                    written = Some(done.0);
                }
                if got.is_none()
                    && let Poll::Ready(done) = Pin::new(&mut read).poll(cx)
                {
                    got = Some(done);
                }
                match (written.take(), got.take()) {
                    (Some(Ok(_)), Some((Ok(_), buf))) => {
                        byte = buf;
                        Poll::Ready(Ok(()))
                    }
                    (Some(Err(error)), _) | (_, Some((Err(error), _))) => Poll::Ready(Err(error)),
                    (one, other) => {
                        (written, got) = (one, other);
                        Poll::Pending
                    }
                }
            })
            .await?;
        }
        writer.write(byte).await.0?;
        Ok(clock.cost())
    })
}

fn by_tokio(events: u64) -> io::Result<Cost> {
    let (reader, writer) = pipe()?;
    ioctl_fionbio(&reader, true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        #[expect(
            deprecated,
            reason = "its successor is unsafe; the descriptor is owned here"
        )]
        let reader = tokio::io::unix::AsyncFd::new(reader)?;
        let clock = Clock::start();
        for _ in 0..events {
            let handle = |reader: &OwnedFd| handle(reader, &writer);
            reader
                .async_io(tokio::io::Interest::READABLE, handle)
                .await?;
        }
        Ok(clock.cost())
    })
}

/// A ring as the runtime sets it up.
fn ring() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag();
    builder.setup_submit_all().setup_no_sqarray();
    builder.build(256)
}

/// What the runtime does for readiness, and nothing else: a poll that stays, and a look at the ring every 256 events.
fn by_hand_readiness(events: u64) -> io::Result<Cost> {
    let (reader, writer) = pipe()?;
    let mut ring = ring()?;
    let poll = opcode::PollAdd::new(
        types::Fd(reader.as_raw_fd()),
        u32::from(PollFlags::IN.bits()),
    )
    .multi(true)
    .build();
    // SAFETY: the entry has no pointers; the pipe is there until the ring is gone.
    unsafe { ring.submission().push(&poll) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let clock = Clock::start();
    for event in 0..events {
        handle(&reader, &writer)?;
        if event % 256 == 255 && ring.submission().taskrun() {
            ring.submit()?;
            ring.completion().for_each(drop);
        }
    }
    Ok(clock.cost())
}

/// What the runtime does for reads and writes, and nothing else: both go to the kernel by one enter an event.
fn by_hand_ring(events: u64) -> io::Result<Cost> {
    let (reader, writer) = pipe()?;
    let mut ring = ring()?;
    let mut byte = [0_u8; 2];
    let (from, to) = byte.split_at_mut(1);
    let read = opcode::Read::new(types::Fd(reader.as_raw_fd()), to.as_mut_ptr(), 1).build();
    let write = opcode::Write::new(types::Fd(writer.as_raw_fd()), from.as_ptr(), 1).build();
    let clock = Clock::start();
    for _ in 0..events {
        // SAFETY: the bytes outlive the ring's last completion, which is awaited each time.
        unsafe {
            ring.submission()
                .push_multiple(&[read.clone(), write.clone()])
        }
        .map_err(io::Error::other)?;
        ring.submit_and_wait(2)?;
        if ring.completion().any(|done| done.result() != 1) {
            return Err(io::Error::other("neither read nor written"));
        }
    }
    Ok(clock.cost())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut rounds, mut events) = (9_usize, 200_000_u64);
    let mut only = String::new();
    let mut args = Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("rounds") => rounds = args.value()?.parse()?,
            Arg::Long("events") => events = args.value()?.parse()?,
            // Beside the one that ratios are to.
            Arg::Long("only") => only = args.value()?.string()?,
            // What `cargo bench` adds.
            Arg::Long("bench") => {}
            other => return Err(other.unexpected().into()),
        }
    }
    if rounds == 0 || events == 0 {
        return Err("there has to be at least one round of one event".into());
    }
    cores::pin(cores::two()?.map(|(one, _)| one))?;
    let chosen: Vec<_> = CONTENDERS
        .into_iter()
        .filter(|(name, _)| *name == PLAIN || name.contains(&only))
        .collect();
    let mut costs = vec![Vec::new(); chosen.len()];
    for (_, run) in &chosen {
        run(events / 10 + 1)?;
    }
    for round in 0..rounds {
        for turn in 0..chosen.len() {
            // Nobody comes always after the same one.
            let at = (round + turn) % chosen.len();
            costs[at].push(chosen[at].1(events)?);
        }
    }
    println!(
        "one pipe, a byte read and a byte written per event; median of {rounds} rounds of {events} events"
    );
    println!(
        "{:<20} {:>12} {:>14} {:>22} {:>22}",
        "", "events/s", "CPU/event", "events/s to epoll's", "epoll's CPU to its"
    );
    let plain = chosen.iter().position(|(name, _)| *name == PLAIN);
    let plain = &costs[plain.ok_or("it is among them")?];
    for ((name, _), of) in chosen.iter().zip(&costs) {
        let rate = |cost: &Cost| events as f64 / cost.elapsed.as_secs_f64();
        let cpu_ns = |cost: &Cost| cost.cpu.as_nanos() as f64 / events as f64;
        let to_plain = |of: &[Cost], figure: &dyn Fn(&Cost, &Cost) -> f64| {
            spread(of.iter().zip(plain).map(|(a, b)| figure(a, b)))
        };
        let (rates, cpus) = (spread(of.iter().map(rate)), spread(of.iter().map(cpu_ns)));
        let faster = to_plain(of, &|a, b| rate(a) / rate(b));
        let cheaper = to_plain(of, &|a, b| cpu_ns(b) / cpu_ns(a));
        println!(
            "{name:<20} {:>12.0} {:>11.0} ns {:>8.2} ({:.2} to {:.2}) {:>8.2} ({:.2} to {:.2})",
            rates.1, cpus.1, faster.1, faster.0, faster.2, cheaper.1, cheaper.0, cheaper.2
        );
    }
    Ok(())
}

/// The least, the middle and the most.
fn spread(figures: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let last = figures.len() - 1;
    (figures[0], figures[figures.len() / 2], figures[last])
}

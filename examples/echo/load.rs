//! The other side: clients that know nothing of the runtime, on a thread of their own.
//!
//! Plain non-blocking sockets of `std`, watched by epoll. Each connection has one echo on its way at any time,
//! of bytes that no other echo has, and every byte that comes back is compared.

use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::advice::explain;
use crate::ctrl_c::CtrlC;
use crate::options::Load;

/// How long an echo may be on its way after the last one was sent.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the clock, Ctrl-C and the progress bar are looked at when nothing arrives.
const GLANCE_MS: u64 = 50;
/// Latencies are counted in nanoseconds, up to a minute, to three digits.
const LONGEST_NS: u64 = 60_000_000_000;
/// Bytes read at once.
const SCRATCH_SIZE: usize = 64 * 1024;

/// What the clients have seen.
pub(crate) struct Outcome {
    pub(crate) latencies_ns: Histogram<u64>,
    pub(crate) echoes: u64,
    /// Bytes that came back as they were sent.
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
}

/// All connections, and what is going on on them.
pub(crate) struct Clients {
    clients: Vec<Client>,
    epoll: OwnedFd,
    load: Load,
}

impl Clients {
    /// Connects them all. Nothing is sent yet.
    pub(crate) fn connect(addr: SocketAddr, load: Load) -> Result<Clients, String> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(fails("epoll"))?;
        let clients = (0..load.connections)
            .map(|index| {
                let client = Client::connect(addr, index, load.size)?;
                // Edges of both kinds, so that there is nothing to change while it runs.
                let wanted = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
                let data = epoll::EventData::new_u64(index as u64);
                epoll::add(&epoll, &client.stream, data, wanted)?;
                Ok(client)
            })
            .collect::<io::Result<_>>()
            .map_err(fails("connecting"))?;
        Ok(Clients {
            clients,
            epoll,
            load,
        })
    }

    /// Sends and compares until the time is over or Ctrl-C is pressed, then waits for what is on its way.
    pub(crate) fn run(mut self, ctrl_c: &CtrlC) -> Result<Outcome, String> {
        let bar = progress_bar(self.load.duration);
        let started = Instant::now();
        let mut seen = Outcome::new();
        let mut end = started + self.load.duration;
        let mut on_their_way = self.clients.len();
        for client in &mut self.clients {
            client.begin().map_err(fails("sending"))?;
        }
        let mut events = Vec::with_capacity(self.clients.len().min(1024));
        while on_their_way > 0 {
            self.wait(&mut events)?;
            let now = Instant::now();
            if ctrl_c.was_pressed() {
                end = end.min(now);
            }
            if now > end + PATIENCE {
                return Err(format!(
                    "{on_their_way} echoes have not come back in {PATIENCE:?}"
                ));
            }
            for event in events.drain(..) {
                let client = &mut self.clients[event.data.u64() as usize];
                if !client.go_on().map_err(fails("an echo"))? {
                    continue;
                }
                seen.count(client);
                if now < end {
                    client.begin().map_err(fails("sending"))?;
                } else {
                    on_their_way -= 1;
                }
            }
            show(&bar, now - started, seen.echoes);
        }
        seen.took = started.elapsed();
        bar.finish_and_clear();
        Ok(seen)
    }

    fn wait(&self, events: &mut Vec<epoll::Event>) -> Result<(), String> {
        let limit = Timespec {
            tv_sec: 0,
            tv_nsec: (GLANCE_MS * 1_000_000).cast_signed(),
        };
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(fails("epoll")(error)),
        }
    }
}

impl Outcome {
    fn new() -> Outcome {
        let latencies_ns =
            Histogram::new_with_max(LONGEST_NS, 3).expect("three digits are within its bounds");
        Outcome {
            latencies_ns,
            echoes: 0,
            bytes: 0,
            took: Duration::ZERO,
        }
    }

    fn count(&mut self, client: &Client) {
        self.latencies_ns
            .saturating_record(client.begun.elapsed().as_nanos() as u64);
        self.echoes += 1;
        self.bytes += client.message.len() as u64;
    }
}

/// One connection, with one echo on its way.
struct Client {
    stream: TcpStream,
    index: usize,
    message: Vec<u8>,
    sent: usize,
    returned: usize,
    begun: Instant,
    random: u64,
    scratch: Vec<u8>,
}

impl Client {
    fn connect(addr: SocketAddr, index: usize, size: usize) -> io::Result<Client> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Client {
            stream,
            index,
            message: vec![0; size],
            sent: size,
            returned: size,
            begun: Instant::now(),
            random: 0x9e37_79b9_7f4a_7c15 ^ (index as u64 + 1),
            scratch: vec![0; size.min(SCRATCH_SIZE)],
        })
    }

    /// Sends a new message, as far as the socket takes it.
    fn begin(&mut self) -> io::Result<()> {
        for chunk in self.message.chunks_mut(8) {
            // Marsaglia's xorshift: fast, and never the same message twice.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            chunk.copy_from_slice(&self.random.to_le_bytes()[..chunk.len()]);
        }
        (self.sent, self.returned) = (0, 0);
        self.begun = Instant::now();
        self.send()
    }

    /// Goes on as far as the socket lets it; tells whether the message has come back whole.
    fn go_on(&mut self) -> io::Result<bool> {
        if self.is_back() {
            // An edge that has been seen to already.
            return Ok(false);
        }
        self.send()?;
        self.receive()?;
        Ok(self.is_back())
    }

    fn is_back(&self) -> bool {
        self.returned == self.message.len()
    }

    fn send(&mut self) -> io::Result<()> {
        while self.sent < self.message.len() {
            match (&self.stream).write(&self.message[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        while !self.is_back() {
            let room = self.scratch.len().min(self.message.len() - self.returned);
            match (&self.stream).read(&mut self.scratch[..room]) {
                Ok(0) => {
                    return Err(io::Error::new(
                        ErrorKind::UnexpectedEof,
                        "the server has hung up",
                    ));
                }
                Ok(n) => self.compare(n)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn compare(&mut self, n: usize) -> io::Result<()> {
        let expected = &self.message[self.returned..][..n];
        let differs = expected
            .iter()
            .zip(&self.scratch)
            .position(|(sent, back)| sent != back);
        if let Some(at) = differs {
            return Err(io::Error::other(format!(
                "connection {}: byte {} of {} came back as {:#04x}, was sent as {:#04x}",
                self.index,
                self.returned + at,
                self.message.len(),
                self.scratch[at],
                expected[at],
            )));
        }
        self.returned += n;
        Ok(())
    }
}

fn fails<E: Into<io::Error>>(what: impl Display) -> impl FnOnce(E) -> String {
    move |error| explain(what, &error.into())
}

/// A bar that is drawn at a terminal and nowhere else.
fn progress_bar(whole: Duration) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:40.green} {msg}").expect("the template is fixed");
    ProgressBar::new(whole.as_millis() as u64).with_style(style)
}

fn show(bar: &ProgressBar, elapsed: Duration, echoes: u64) {
    let elapsed_ms = elapsed.as_millis() as u64;
    if elapsed_ms < bar.position() + GLANCE_MS {
        return;
    }
    let per_second = echoes as f64 / elapsed.as_secs_f64();
    bar.set_message(format!("{} echoes/s", HumanCount(per_second as u64)));
    bar.set_position(elapsed_ms);
}

//! Many connections that last, driven by one thread: what the loads that keep their connections have in common.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::Plan;
use crate::cpu::await_sleep;

/// So many connections between two looks whether the server keeps up: fewer than the 128 that some let wait to be accepted.
pub(super) const BATCH: usize = 100;

/// So many bytes a connection takes or says before the others have their turn: a server is as quick as this load, and one
/// connection would keep both busy for a whole lap.
pub(super) const TURN: usize = 256 * 1024;

/// What one connection says, and what it expects to hear.
pub(super) trait Client {
    /// Says the first of a lap, as far as the socket takes it. [`Turn::Over`]: it takes more.
    fn begin(&mut self, socket: &TcpStream) -> io::Result<Turn>;

    /// Takes what has come, checks it, and says what follows from it, until the socket has and takes no more, or the turn is
    /// over.
    fn go_on(
        &mut self,
        socket: &TcpStream,
        scratch: &mut [u8],
        lap: &mut Lap<'_>,
    ) -> io::Result<Turn>;

    /// Whether all it has asked for was answered and it asks for no more.
    fn is_idle(&self) -> bool;
}

/// Why a connection does not go on.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Turn {
    /// The socket has, and takes, no more; an event will say so when it does.
    Wait,
    /// It has had [`TURN`] bytes. No event will come.
    Over,
}

/// A stretch of time, and how long what was asked in it took.
pub(super) struct Lap<'a> {
    end: Instant,
    latencies: &'a mut Histogram<u64>,
}

impl<'a> Lap<'a> {
    pub(super) fn new(duration: Duration, latencies: &'a mut Histogram<u64>) -> Lap<'a> {
        Lap {
            end: Instant::now() + duration,
            latencies,
        }
    }

    /// Notes that what was asked at `since` is answered; whether there is time to ask for more.
    pub(super) fn answered(&mut self, since: Instant, now: Instant) -> bool {
        let latency = now.duration_since(since).as_nanos();
        let latency = u64::try_from(latency).unwrap_or(u64::MAX);
        self.latencies.saturating_record(latency);
        now < self.end
    }
}

pub(super) struct Crowd<C> {
    poller: OwnedFd,
    connections: Vec<(TcpStream, C)>,
    scratch: Vec<u8>,
}

impl<C: Client> Crowd<C> {
    /// Connects as often as planned; `client` is told which of them it is.
    pub(super) fn connect(plan: &Plan, mut client: impl FnMut(usize) -> C) -> io::Result<Self> {
        let poller = epoll::create(CreateFlags::CLOEXEC)?;
        let wanted = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        let mut connections = Vec::with_capacity(plan.connections);
        for index in 0..plan.connections {
            let socket = TcpStream::connect(plan.server)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            epoll::add(&poller, &socket, EventData::new_u64(index as u64), wanted)?;
            connections.push((socket, client(index)));
            if connections.len() % BATCH == 0 {
                // It sleeps once it has accepted them. Those that it lets wait too long have to ask again after seconds.
                await_sleep(plan.server_pid, Duration::from_secs(1))?;
            }
        }
        Ok(Crowd {
            poller,
            connections,
            scratch: vec![0; plan.size.clamp(4096, 256 * 1024)],
        })
    }

    /// Asks on all connections for so long; returns when all that was asked is answered, and tells how much that was.
    pub(super) fn lap(
        &mut self,
        duration: Duration,
        latencies: &mut Histogram<u64>,
    ) -> io::Result<u64> {
        let mut lap = Lap::new(duration, latencies);
        let mut busy = self.connections.len();
        // Those whose turn was over, by their index.
        let (mut again, mut due) = (Vec::new(), Vec::new());
        for (index, (socket, client)) in self.connections.iter_mut().enumerate() {
            if client.begin(socket)? == Turn::Over {
                again.push(index);
            }
        }
        let mut events = Vec::with_capacity(1024);
        while busy > 0 {
            events.clear();
            let no_time = (!again.is_empty()).then(Timespec::default);
            let room = spare_capacity(&mut events);
            match epoll::wait(&self.poller, room, no_time.as_ref()) {
                Err(Errno::INTR) => continue,
                waited => waited?,
            };
            due.append(&mut again);
            due.extend(events.iter().map(|event| event.data.u64() as usize));
            for index in due.drain(..) {
                let (socket, client) = &mut self.connections[index];
                if client.is_idle() {
                    continue;
                }
                if client.go_on(socket, &mut self.scratch, &mut lap)? == Turn::Over {
                    again.push(index);
                }
                if client.is_idle() {
                    busy -= 1;
                }
            }
        }
        Ok(latencies.len())
    }
}

/// As much as the socket takes; how much that was.
pub(super) fn send(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match rustix::net::send(socket, &bytes[sent..], SendFlags::NOSIGNAL) {
            Ok(n) => sent += n,
            Err(Errno::AGAIN) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(sent)
}

/// What there is; none: nothing yet.
pub(super) fn receive<'a>(
    socket: &TcpStream,
    scratch: &'a mut [u8],
) -> io::Result<Option<&'a [u8]>> {
    match rustix::net::recv(socket, &mut *scratch, RecvFlags::empty()) {
        Ok((_, 0)) => Err(io::Error::other("the server ended a connection")),
        Ok((_, n)) => Ok(Some(&scratch[..n])),
        Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

pub(super) fn wrong() -> io::Error {
    io::Error::other("the server sent other bytes than it should")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::TcpListener;

    use super::*;

    /// Always has more to take, so many times.
    struct Greedy<'a> {
        index: usize,
        left: usize,
        turns: &'a RefCell<Vec<usize>>,
    }

    impl Client for Greedy<'_> {
        fn begin(&mut self, _: &TcpStream) -> io::Result<Turn> {
            Ok(Turn::Over)
        }

        fn go_on(&mut self, _: &TcpStream, _: &mut [u8], _: &mut Lap<'_>) -> io::Result<Turn> {
            self.turns.borrow_mut().push(self.index);
            self.left -= 1;
            Ok(Turn::Over)
        }

        fn is_idle(&self) -> bool {
            self.left == 0
        }
    }

    #[test]
    fn who_always_has_more_leaves_the_others_their_turns() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let turns = RefCell::new(Vec::new());
        let plan = Plan {
            server: listener.local_addr().unwrap(),
            server_pid: std::process::id(),
            connections: 2,
            size: 1,
            pipeline: 1,
        };
        let greedy = |index| Greedy {
            index,
            left: 3,
            turns: &turns,
        };
        let mut crowd = Crowd::connect(&plan, greedy).unwrap();
        let mut latencies = Histogram::new(3).unwrap();
        crowd.lap(Duration::ZERO, &mut latencies).unwrap();
        drop(crowd);
        let firsts = [0, 2, 4].map(|at| turns.borrow()[at..at + 2].to_vec());
        for mut both in firsts {
            both.sort_unstable();
            assert_eq!(both, [0, 1]);
        }
    }
}

//! Ping-pong: every connection sends a message, awaits all of it back, sends the next.
//!
//! No two messages are alike, and every byte that comes back is compared.
//!
//! How many answers a server prepares between two looks at the kernel is up to the pace of both: one that lags gets
//! all connections at once and is cheaper by the request, one that waits for the load gets a few. So look at several
//! numbers of connections before believing a ratio.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::{Kind, Meter, Plan, Workload};
use crate::contenders::Service;

pub(super) const WORKLOAD: Workload = Workload {
    name: "echo",
    about: "ping-pong of --size bytes on each of --connections",
    size: 64,
    kind: Kind::Served {
        service: Service::Echo,
        load,
    },
};

fn load(plan: &Plan, meter: &mut Meter) -> io::Result<()> {
    let mut crowd = Crowd::connect(plan)?;
    crowd.lap(plan.warm_up, &mut super::latencies())?;
    meter.measure(|latencies| crowd.lap(plan.window, latencies))
}

/// All connections.
struct Crowd {
    poller: rustix::fd::OwnedFd,
    connections: Vec<Connection>,
    scratch: Vec<u8>,
}

struct Connection {
    socket: TcpStream,
    message: Box<[u8]>,
    /// Where the sequence of its messages has got to.
    state: u64,
    sent: usize,
    received: usize,
    since: Instant,
    /// It sends no more.
    idle: bool,
}

impl Crowd {
    fn connect(plan: &Plan) -> io::Result<Crowd> {
        let poller = epoll::create(CreateFlags::CLOEXEC)?;
        let connections = (0..plan.connections)
            .map(|index| Connection::new(plan.server, plan.size, index as u64 + 1))
            .collect::<io::Result<Vec<_>>>()?;
        let wanted = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        for (index, connection) in connections.iter().enumerate() {
            epoll::add(
                &poller,
                &connection.socket,
                EventData::new_u64(index as u64),
                wanted,
            )?;
        }
        let scratch = vec![0; plan.size.clamp(4096, 256 * 1024)];
        Ok(Crowd {
            poller,
            connections,
            scratch,
        })
    }

    /// Sends on all connections for so long; returns when all that was sent has come back.
    fn lap(&mut self, duration: Duration, latencies: &mut Histogram<u64>) -> io::Result<()> {
        let start = Instant::now();
        let mut busy = self.connections.len();
        for connection in &mut self.connections {
            connection.next_message(Instant::now());
            connection.send()?;
        }
        let mut events = Vec::with_capacity(1024);
        while busy > 0 {
            events.clear();
            epoll::wait(&self.poller, spare_capacity(&mut events), None)?;
            for event in &events {
                let connection = &mut self.connections[event.data.u64() as usize];
                if connection.idle {
                    continue;
                }
                connection.send()?;
                if !connection.receive(&mut self.scratch)? {
                    continue;
                }
                let now = Instant::now();
                let latency = now.duration_since(connection.since);
                latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
                if now.duration_since(start) < duration {
                    connection.next_message(now);
                    connection.send()?;
                } else {
                    connection.idle = true;
                    busy -= 1;
                }
            }
        }
        Ok(())
    }
}

impl Connection {
    fn new(server: SocketAddr, size: usize, seed: u64) -> io::Result<Connection> {
        let socket = TcpStream::connect(server)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Connection {
            socket,
            message: vec![0; size].into(),
            state: seed << 32,
            sent: 0,
            received: 0,
            since: Instant::now(),
            idle: true,
        })
    }

    fn next_message(&mut self, now: Instant) {
        for chunk in self.message.chunks_mut(8) {
            self.state = self.state.wrapping_add(1);
            // An odd factor: different states, different chunks.
            let mixed = self.state.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
        (self.sent, self.received) = (0, 0);
        self.since = now;
        self.idle = false;
    }

    fn send(&mut self) -> io::Result<()> {
        while self.sent < self.message.len() {
            match send(
                &self.socket,
                &self.message[self.sent..],
                SendFlags::NOSIGNAL,
            ) {
                Ok(n) => self.sent += n,
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Takes what has come back; `true`: that was the last of the message.
    fn receive(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        loop {
            let n = match recv(&self.socket, &mut *scratch, RecvFlags::empty()) {
                Ok((_, n)) => n,
                Err(Errno::AGAIN) => return Ok(false),
                Err(errno) => return Err(errno.into()),
            };
            if n == 0 {
                return Err(io::Error::other("the server ended a connection"));
            }
            if self.message[..self.sent].get(self.received..self.received + n)
                != Some(&scratch[..n])
            {
                return Err(io::Error::other(
                    "the server sent back other bytes than it got",
                ));
            }
            self.received += n;
            if self.received == self.message.len() {
                return Ok(true);
            }
        }
    }
}

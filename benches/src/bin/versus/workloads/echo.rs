//! Ping-pong: every connection sends a message, awaits all of it back, sends the next; with `--pipeline`, it has so many
//! on their way at a time.
//!
//! No two messages are alike, and every byte that comes back is compared.
//!
//! How many answers a server prepares between two looks at the kernel is up to the pace of both: one that lags gets
//! all connections at once and is cheaper by the request, one that waits for the load gets a few. So look at several
//! numbers of connections before believing a ratio.

use std::io;
use std::net::TcpStream;
use std::time::Instant;

use super::crowd::{Client, Crowd, Lap, TURN, Turn, receive, send, wrong};
use super::{Cost, Kind, Plan, Workload};
use crate::contenders::Service;
use crate::meter::Meter;

pub(super) const WORKLOAD: Workload = Workload {
    name: "echo",
    about: "ping-pong of --size bytes on each of --connections",
    connections: 64,
    size: 64,
    kind: Kind::Served {
        service: Service::Echo,
        load,
    },
    cost: Cost::Cpu,
};

fn load(plan: &Plan, meter: &mut Meter) -> io::Result<()> {
    let mut crowd = Crowd::connect(plan, |index| Messages::new(index, plan.size, plan.pipeline))?;
    meter.run(|duration, latencies| crowd.lap(duration, latencies))
}

/// A connection's messages. Positions count bytes from its beginning.
struct Messages {
    /// The messages on their way, each at its position modulo the length.
    bytes: Box<[u8]>,
    since: Box<[Instant]>,
    size: usize,
    /// Where the sequence of words has got to.
    state: u64,
    /// Up to where messages were made, sent, and received again.
    made: u64,
    sent: u64,
    received: u64,
}

impl Messages {
    fn new(index: usize, size: usize, pipeline: usize) -> Messages {
        Messages {
            bytes: vec![0; size * pipeline].into(),
            since: vec![Instant::now(); pipeline].into(),
            size,
            state: (index as u64 + 1) << 32,
            made: 0,
            sent: 0,
            received: 0,
        }
    }

    fn place(&self, position: u64) -> usize {
        (position % self.bytes.len() as u64) as usize
    }

    fn make(&mut self, now: Instant) {
        let from = self.place(self.made);
        for chunk in self.bytes[from..from + self.size].chunks_mut(8) {
            self.state = self.state.wrapping_add(1);
            // An odd factor: different states, different chunks.
            let mixed = self.state.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
        self.since[from / self.size] = now;
        self.made += self.size as u64;
    }

    fn send(&mut self, socket: &TcpStream) -> io::Result<()> {
        while self.sent < self.made {
            let from = self.place(self.sent);
            let left = (self.made - self.sent) as usize;
            let now = left.min(self.bytes.len() - from);
            let sent = send(socket, &self.bytes[from..from + now])?;
            self.sent += sent as u64;
            if sent < now {
                break;
            }
        }
        Ok(())
    }

    /// Compares what came back; `true`: it is what was sent.
    fn take(&mut self, mut back: &[u8]) -> bool {
        if back.len() as u64 > self.sent - self.received {
            return false;
        }
        while !back.is_empty() {
            let from = self.place(self.received);
            let (now, later) = back.split_at(back.len().min(self.bytes.len() - from));
            if self.bytes[from..from + now.len()] != *now {
                return false;
            }
            self.received += now.len() as u64;
            back = later;
        }
        true
    }
}

impl Client for Messages {
    fn begin(&mut self, socket: &TcpStream) -> io::Result<Turn> {
        let now = Instant::now();
        while self.made - self.received < self.bytes.len() as u64 {
            self.make(now);
        }
        self.send(socket)?;
        Ok(Turn::Wait)
    }

    fn go_on(
        &mut self,
        socket: &TcpStream,
        scratch: &mut [u8],
        lap: &mut Lap<'_>,
    ) -> io::Result<Turn> {
        self.send(socket)?;
        let first = self.received;
        while self.received < self.sent {
            if self.received - first >= TURN as u64 {
                return Ok(Turn::Over);
            }
            let Some(back) = receive(socket, scratch)? else {
                break;
            };
            let size = self.size as u64;
            let before = self.received / size;
            if !self.take(back) {
                return Err(wrong());
            }
            if before == self.received / size {
                continue;
            }
            let now = Instant::now();
            for message in before..self.received / size {
                let since = self.since[self.place(message * size) / self.size];
                if lap.answered(since, now) {
                    self.make(now);
                }
            }
            self.send(socket)?;
        }
        Ok(Turn::Wait)
    }

    fn is_idle(&self) -> bool {
        self.received == self.made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_is_like_the_one_before_and_only_the_same_bytes_are_taken() {
        let mut messages = Messages::new(0, 10, 2);
        messages.make(Instant::now());
        messages.make(Instant::now());
        messages.sent = 15;
        let sent = messages.bytes.to_vec();
        assert_ne!(sent[..10], sent[10..]);
        let mut wrong = sent[..4].to_vec();
        wrong[3] ^= 1;
        assert!(!messages.take(&wrong));
        assert!(messages.take(&sent[..12]));
        assert!(!messages.take(&sent[12..16]), "not sent yet");
        messages.make(Instant::now());
        messages.sent = 30;
        let round = [&sent[12..], &messages.bytes[..10]].concat();
        assert!(messages.take(&round));
        assert!(messages.is_idle());
    }
}

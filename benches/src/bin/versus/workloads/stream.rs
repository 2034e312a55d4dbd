//! Streaming one way: blocks of a mebibyte, one after another, each of which counts as a request. Both ways at once is an
//! echo with large messages and a pipeline.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::time::Instant;

use super::crowd::{Client, Crowd, Lap, TURN, Turn, receive, send, wrong};
use super::{Cost, Kind, Plan, Workload};
use crate::contenders::Service;
use crate::contenders::services::{BLOCK, CHUNK, pattern};
use crate::meter::Meter;

pub(super) const UPLOAD: Workload = Workload {
    name: "upload",
    about: "each of --connections sends blocks of 1 MiB, the server reads --size bytes at a time",
    connections: 8,
    size: 65536,
    kind: Kind::Served {
        service: Service::Sink,
        load: upload,
    },
    cost: Cost::Cpu,
};

pub(super) const DOWNLOAD: Workload = Workload {
    name: "download",
    about: "the server sends blocks of 1 MiB to each of --connections, 64 KiB at a time",
    connections: 8,
    size: 65536,
    kind: Kind::Served {
        service: Service::Source,
        load: download,
    },
    cost: Cost::Cpu,
};

/// Blocks asked for at a time, so that the server never waits to be asked.
const ASKED: usize = 2;

fn upload(plan: &Plan, meter: &mut Meter) -> io::Result<()> {
    let mut crowd = Crowd::connect(plan, |_| Upload::new())?;
    meter.run(|duration, latencies| crowd.lap(duration, latencies))
}

fn download(plan: &Plan, meter: &mut Meter) -> io::Result<()> {
    let mut crowd = Crowd::connect(plan, |_| Download::default())?;
    meter.run(|duration, latencies| crowd.lap(duration, latencies))
}

/// Sends blocks, and is told the last byte of each, which is different from block to block.
struct Upload {
    /// The last chunk of the block being sent; those before are the pattern.
    last: Box<[u8]>,
    /// What of the block was sent.
    sent: usize,
    blocks: u8,
    /// Blocks begun and not answered yet: their last bytes, and when they were begun.
    unanswered: VecDeque<(u8, Instant)>,
    over: bool,
}

impl Upload {
    fn new() -> Upload {
        Upload {
            last: pattern().into(),
            sent: BLOCK,
            blocks: 0,
            unanswered: VecDeque::new(),
            over: true,
        }
    }

    fn send(&mut self, socket: &TcpStream) -> io::Result<Turn> {
        let mut left = TURN;
        loop {
            if self.sent == BLOCK {
                if self.over || self.unanswered.len() == ASKED {
                    return Ok(Turn::Wait);
                }
                self.blocks = self.blocks.wrapping_add(1);
                self.last[CHUNK - 1] = self.blocks;
                self.unanswered.push_back((self.blocks, Instant::now()));
                self.sent = 0;
            }
            if left == 0 {
                return Ok(Turn::Over);
            }
            let within = self.sent % CHUNK;
            let chunk = if self.sent < BLOCK - CHUNK {
                &pattern()[within..]
            } else {
                &self.last[within..]
            };
            let sent = send(socket, chunk)?;
            self.sent += sent;
            left = left.saturating_sub(sent);
            if sent < chunk.len() {
                return Ok(Turn::Wait);
            }
        }
    }
}

impl Client for Upload {
    fn begin(&mut self, socket: &TcpStream) -> io::Result<Turn> {
        self.over = false;
        self.send(socket)
    }

    fn go_on(
        &mut self,
        socket: &TcpStream,
        scratch: &mut [u8],
        lap: &mut Lap<'_>,
    ) -> io::Result<Turn> {
        while let Some(answers) = receive(socket, scratch)? {
            for answer in answers {
                match self.unanswered.pop_front() {
                    Some((last, since)) if last == *answer => {
                        self.over |= !lap.answered(since, Instant::now());
                    }
                    _ => return Err(wrong()),
                }
            }
        }
        self.send(socket)
    }

    fn is_idle(&self) -> bool {
        self.over && self.unanswered.is_empty()
    }
}

/// Asks for blocks, and compares every byte of them.
#[derive(Default)]
struct Download {
    /// What of the block has come.
    received: usize,
    asked: VecDeque<Instant>,
}

impl Download {
    fn ask(&mut self, socket: &TcpStream, now: Instant) -> io::Result<()> {
        self.asked.push_back(now);
        // So few bytes that the socket always takes them.
        match send(socket, b".")? {
            1 => Ok(()),
            _ => Err(io::Error::other("the socket does not take one byte")),
        }
    }
}

impl Client for Download {
    fn begin(&mut self, socket: &TcpStream) -> io::Result<Turn> {
        for _ in 0..ASKED {
            self.ask(socket, Instant::now())?;
        }
        Ok(Turn::Wait)
    }

    fn go_on(
        &mut self,
        socket: &TcpStream,
        scratch: &mut [u8],
        lap: &mut Lap<'_>,
    ) -> io::Result<Turn> {
        let mut left = TURN;
        while left > 0 {
            let Some(mut bytes) = receive(socket, scratch)? else {
                return Ok(Turn::Wait);
            };
            left = left.saturating_sub(bytes.len());
            while !bytes.is_empty() {
                let expected = &pattern()[self.received % CHUNK..];
                let (now, later) = bytes.split_at(bytes.len().min(expected.len()));
                if *now != expected[..now.len()] {
                    return Err(wrong());
                }
                bytes = later;
                self.received += now.len();
                if self.received < BLOCK {
                    continue;
                }
                self.received = 0;
                let since = self.asked.pop_front().ok_or_else(wrong)?;
                let now = Instant::now();
                if lap.answered(since, now) {
                    self.ask(socket, now)?;
                }
            }
        }
        Ok(Turn::Over)
    }

    fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }
}

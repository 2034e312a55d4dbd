//! Connections that are used once: connect, a byte there and back, and the server closes. A request is such a life.
//!
//! Ours are closed by a reset, as otherwise the addresses of a machine would be used up within seconds.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, recv, sockopt};

use super::crowd::{Lap, send, wrong};
use super::{Cost, Kind, Plan, Workload};
use crate::contenders::Service;
use crate::meter::Meter;

pub(super) const WORKLOAD: Workload = Workload {
    name: "churn",
    about: "--connections at a time: made, a byte there and back, closed by the server",
    connections: 64,
    size: 64,
    kind: Kind::Served {
        service: Service::Once,
        load,
    },
    cost: Cost::Cpu,
};

fn load(plan: &Plan, meter: &mut Meter) -> io::Result<()> {
    let poller = epoll::create(CreateFlags::CLOEXEC)?;
    meter.run(|duration, latencies| lap(plan, &poller, duration, latencies))
}

struct Life {
    socket: TcpStream,
    byte: u8,
    /// The byte is back; what is awaited is the end.
    is_back: bool,
    since: Instant,
}

impl Life {
    fn begin(plan: &Plan, byte: u8) -> io::Result<Life> {
        let since = Instant::now();
        let socket = TcpStream::connect(plan.server)?;
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        socket.set_nonblocking(true)?;
        if send(&socket, &[byte])? != 1 {
            return Err(io::Error::other("the socket does not take one byte"));
        }
        Ok(Life {
            socket,
            byte,
            is_back: false,
            since,
        })
    }

    /// Takes what has come; `true`: the end.
    fn go_on(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 8];
        loop {
            match recv(&self.socket, &mut bytes[..], RecvFlags::empty()) {
                Ok((_, 1)) if bytes[0] == self.byte && !self.is_back => self.is_back = true,
                Ok((_, 0)) if self.is_back => return Ok(true),
                Ok(_) => return Err(wrong()),
                Err(Errno::AGAIN) => return Ok(false),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

fn lap(
    plan: &Plan,
    poller: &OwnedFd,
    duration: Duration,
    latencies: &mut Histogram<u64>,
) -> io::Result<u64> {
    let mut lap = Lap::new(duration, latencies);
    let wanted = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
    let mut lives = Vec::with_capacity(plan.connections);
    let mut byte = 0_u8;
    let mut begin = |index: usize| {
        byte = byte.wrapping_add(1);
        let life = Life::begin(plan, byte)?;
        epoll::add(
            poller,
            &life.socket,
            EventData::new_u64(index as u64),
            wanted,
        )?;
        io::Result::Ok(Some(life))
    };
    for index in 0..plan.connections {
        lives.push(begin(index)?);
    }
    let mut busy = plan.connections;
    let mut events = Vec::with_capacity(1024);
    while busy > 0 {
        events.clear();
        retry_on_intr(|| epoll::wait(poller, spare_capacity(&mut events), None))?;
        for event in &events {
            let index = event.data.u64() as usize;
            let Some(life) = &mut lives[index] else {
                continue;
            };
            if !life.go_on()? {
                continue;
            }
            let since = life.since;
            lives[index] = None;
            if lap.answered(since, Instant::now()) {
                lives[index] = begin(index)?;
            } else {
                busy -= 1;
            }
        }
    }
    Ok(latencies.len())
}

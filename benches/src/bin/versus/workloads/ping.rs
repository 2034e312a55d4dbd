//! One connection, both ends on one core, by blocking calls: what a round trip takes from end to end.
//!
//! On two cores such a ping-pong measures how fast the machine, or what it is virtual on, wakes a sleeping core.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::crowd::{Lap, wrong};
use super::{Cost, Kind, Plan, Workload};
use crate::contenders::Service;
use crate::meter::Meter;

pub(super) const WORKLOAD: Workload = Workload {
    name: "ping",
    about: "one connection, both ends on one core: round trips of --size bytes",
    connections: 1,
    size: 64,
    kind: Kind::Served {
        service: Service::Echo,
        load,
    },
    cost: Cost::RoundTrip,
};

fn load(plan: &Plan, meter: &mut Meter) -> io::Result<()> {
    let mut socket = TcpStream::connect(plan.server)?;
    socket.set_nodelay(true)?;
    let mut message: Vec<u8> = (0..plan.size).map(|place| place as u8).collect();
    let mut back = vec![0; plan.size];
    meter.run(|duration, latencies| {
        let mut lap = Lap::new(duration, latencies);
        loop {
            for byte in &mut message {
                *byte = byte.wrapping_mul(5).wrapping_add(1);
            }
            let since = Instant::now();
            socket.write_all(&message)?;
            socket.read_exact(&mut back)?;
            if back != message {
                return Err(wrong());
            }
            if !lap.answered(since, Instant::now()) {
                return Ok(latencies.len());
            }
        }
    })
}

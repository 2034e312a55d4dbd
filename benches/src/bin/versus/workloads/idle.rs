//! Connections that say nothing: what does the server keep in memory for each?
//!
//! It has accepted all of them, and on each a task (or what stands for one) awaits the first bytes. Only what the server's
//! own pages hold is counted, not what the kernel keeps for a socket, which is the same for all.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::crowd::BATCH;
use super::{Cost, Kind, Plan, Workload};
use crate::contenders::Service;
use crate::meter::Meter;

pub(super) const WORKLOAD: Workload = Workload {
    name: "idle",
    about: "memory of a server whose --connections say nothing",
    connections: 10000,
    size: 64,
    kind: Kind::Served {
        service: Service::Echo,
        load,
    },
    cost: Cost::Memory,
};

fn load(plan: &Plan, meter: &mut Meter) -> io::Result<()> {
    meter.answer(|meter, _| {
        answers(plan.server)?;
        let before = resident(plan.server_pid)?;
        let mut silent = Vec::with_capacity(plan.connections);
        meter.measure(|_| {
            while silent.len() < plan.connections {
                for _ in 0..BATCH.min(plan.connections - silent.len()) {
                    silent.push(TcpStream::connect(plan.server)?);
                }
                answers(plan.server)?;
            }
            Ok(silent.len() as u64)
        })?;
        let grown = resident(plan.server_pid)?.saturating_sub(before);
        meter.note(|measure| {
            measure.bytes_per_connection = Some(grown as f64 / plan.connections as f64);
        });
        Ok(())
    })
}

/// Connections are accepted in their order: once a new one is answered, the server has all before it.
fn answers(server: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(server)?;
    let mut byte = [0];
    stream.write_all(b"x")?;
    stream.read_exact(&mut byte)?;
    if byte != *b"x" {
        return Err(io::Error::other("the server sent back another byte"));
    }
    Ok(())
}

/// Bytes of the process's pages that are in memory. `smaps_rollup` counts them; what `status` tells lags behind.
fn resident(pid: u32) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.ok_or_else(|| io::Error::other("/proc is not as it was"))? * 1024)
}

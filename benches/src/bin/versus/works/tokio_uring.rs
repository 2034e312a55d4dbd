//! Tokio-uring's `File`, a task a lane.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::rc::Rc;

use rustix::fs::OFlags;
use tokio_uring::Runtime;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::fs::{File, OpenOptions};

use super::{Lane, Lap, Run, Task, Work, aligned_part};
use crate::workloads::Meter;

pub(crate) const WORKS: &[(Work, Run)] = &[
    (Work::Read, read),
    (Work::ReadDirect, read),
    (Work::Copy, copy),
];

fn read(task: &Task, meter: &mut Meter) -> io::Result<()> {
    let runtime = Runtime::new(&tokio_uring::builder())?;
    let file = runtime.block_on(async {
        let mut options = OpenOptions::new();
        if task.is_direct() {
            options.custom_flags(OFlags::DIRECT.bits().cast_signed());
        }
        options.read(true).open(&task.source).await
    })?;
    let file = Rc::new(file);
    meter.laps(task, |lap| {
        runtime.block_on(read_lanes(file.clone(), lap, task.block))
    })
}

async fn read_lanes(file: Rc<File>, lap: &Lap<'_>, block: usize) -> io::Result<Vec<Lane>> {
    let tasks: Vec<_> = lap
        .lanes()
        .map(|lane| tokio_uring::spawn(read_lane(file.clone(), lane, block)))
        .collect();
    let mut lanes = Vec::with_capacity(tasks.len());
    for task in tasks {
        lanes.push(task.await??);
    }
    Ok(lanes)
}

async fn read_lane(file: Rc<File>, mut lane: Lane, block: usize) -> io::Result<Lane> {
    let (buf, part) = aligned_part(block);
    let mut buf = buf.slice(part);
    while let Some(offset) = lane.next() {
        let (read, filled) = file.read_at(buf, offset).await;
        lane.check(offset, &filled[..read?])?;
        buf = filled;
    }
    Ok(lane)
}

fn copy(task: &Task, meter: &mut Meter) -> io::Result<()> {
    let runtime = Runtime::new(&tokio_uring::builder())?;
    let (from, to) = runtime.block_on(async {
        let from = File::open(&task.source).await?;
        let to = File::create(&task.target).await?;
        io::Result::Ok((from, to))
    })?;
    meter.laps(task, |lap| {
        runtime.block_on(async {
            let mut lane = lap.only_lane();
            let mut buf = vec![0; task.block];
            while let Some(offset) = lane.next() {
                let (read, filled) = from.read_exact_at(buf, offset).await;
                read?;
                lane.check(offset, &filled)?;
                let (written, filled) = to.write_all_at(filled, offset).await;
                written?;
                buf = filled;
            }
            Ok(vec![lane])
        })
    })
}

//! Monoio's `File`, a task a lane.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::rc::Rc;

use monoio::buf::{IoBufMut, SliceMut};
use monoio::fs::{File, OpenOptions};
use monoio::{IoUringDriver, RuntimeBuilder};
use rustix::fs::OFlags;

use super::{Lane, Lap, Run, Task, Work, aligned_part};
use crate::contenders::monoio::tuned;
use crate::workloads::Meter;

type Builder = RuntimeBuilder<IoUringDriver>;

pub(crate) const WORKS: &[(Work, Run)] = &[
    (Work::Read, |task, meter| read(Builder::new(), task, meter)),
    (Work::ReadDirect, |task, meter| {
        read(Builder::new(), task, meter)
    }),
    (Work::Copy, |task, meter| copy(Builder::new(), task, meter)),
];

pub(crate) const TUNED: &[(Work, Run)] = &[
    (Work::Read, |task, meter| read(tuned(), task, meter)),
    (Work::ReadDirect, |task, meter| read(tuned(), task, meter)),
    (Work::Copy, |task, meter| copy(tuned(), task, meter)),
];

fn read(builder: Builder, task: &Task, meter: &mut Meter) -> io::Result<()> {
    let mut runtime = builder.build()?;
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
        .map(|lane| monoio::spawn(read_lane(file.clone(), lane, block)))
        .collect();
    let mut lanes = Vec::with_capacity(tasks.len());
    for task in tasks {
        lanes.push(task.await?);
    }
    Ok(lanes)
}

async fn read_lane(file: Rc<File>, mut lane: Lane, block: usize) -> io::Result<Lane> {
    let (buf, part) = aligned_part(block);
    let mut buf: SliceMut<Vec<u8>> = buf.slice_mut(part);
    while let Some(offset) = lane.next() {
        let (read, filled) = file.read_at(buf, offset).await;
        lane.check(offset, &filled[..read?])?;
        buf = filled;
    }
    Ok(lane)
}

fn copy(builder: Builder, task: &Task, meter: &mut Meter) -> io::Result<()> {
    let mut runtime = builder.build()?;
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

//! Compio's `File`, a task a lane.

use std::io;

use compio::BufResult;
use compio::buf::IoBufExt;
use compio::driver::ProactorBuilder;
use compio::fs::{File, OpenOptions};
use compio::io::{AsyncReadAt, AsyncReadAtExt, AsyncWriteAtExt};
use compio::runtime::{Runtime, RuntimeBuilder};

use super::{Lane, Run, Task, Work, aligned_part, by_tasks};
use crate::contenders::compio::{plain, tuned};
use crate::meter::Meter;

pub(crate) const WORKS: &[(Work, Run)] = &[
    (Work::Read, |task, meter| read(plain(), task, meter)),
    (Work::ReadDirect, |task, meter| read(plain(), task, meter)),
    (Work::Copy, |task, meter| copy(plain(), task, meter)),
];

pub(crate) const TUNED: &[(Work, Run)] = &[
    (Work::Read, |task, meter| read(tuned(), task, meter)),
    (Work::ReadDirect, |task, meter| read(tuned(), task, meter)),
    (Work::Copy, |task, meter| copy(tuned(), task, meter)),
];

fn runtime(proactor: ProactorBuilder) -> io::Result<Runtime> {
    RuntimeBuilder::new().with_proactor(proactor).build()
}

fn read(proactor: ProactorBuilder, task: &Task, meter: &mut Meter) -> io::Result<()> {
    let runtime = runtime(proactor)?;
    let file = runtime.block_on(async {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(task.open_flags());
        options.open(&task.source).await
    })?;
    let spawn = |lane| compio::runtime::spawn(read_lane(file.clone(), lane, task.block));
    meter.laps(task, |lap| {
        runtime.block_on(by_tasks(lap, spawn, |ended| {
            ended.map_err(|_| io::Error::other("a task has ended"))?
        }))
    })
}

async fn read_lane(file: File, mut lane: Lane, block: usize) -> io::Result<Lane> {
    let (buf, part) = aligned_part(block);
    let mut buf = buf.slice(part);
    while let Some(offset) = lane.next() {
        let BufResult(read, filled) = file.read_at(buf, offset).await;
        lane.check(offset, &filled[..read?])?;
        buf = filled;
    }
    Ok(lane)
}

fn copy(proactor: ProactorBuilder, task: &Task, meter: &mut Meter) -> io::Result<()> {
    let runtime = runtime(proactor)?;
    let (from, mut to) = runtime.block_on(async {
        let from = File::open(&task.source).await?;
        let to = File::create(&task.target).await?;
        io::Result::Ok((from, to))
    })?;
    meter.laps(task, |lap| {
        runtime.block_on(async {
            let mut lane = lap.only_lane();
            let mut buf = vec![0; task.block];
            while let Some(offset) = lane.next() {
                let BufResult(read, filled) = from.read_exact_at(buf, offset).await;
                read?;
                lane.check(offset, &filled)?;
                let BufResult(written, filled) = to.write_all_at(filled, offset).await;
                written?;
                buf = filled;
            }
            Ok(vec![lane])
        })
    })
}

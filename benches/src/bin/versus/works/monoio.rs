//! Monoio's `File`, a task a lane.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::rc::Rc;

use monoio::buf::{IoBufMut, SliceMut};
use monoio::fs::{File, OpenOptions};
use monoio::{IoUringDriver, RuntimeBuilder};

use super::{Lane, Run, Task, Work, aligned_part, by_tasks};
use crate::contenders::monoio::tuned;
use crate::meter::Meter;

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
        options.read(true).custom_flags(task.open_flags());
        options.open(&task.source).await
    })?;
    let file = Rc::new(file);
    let spawn = |lane| monoio::spawn(read_lane(file.clone(), lane, task.block));
    meter.laps(task, |lap| {
        runtime.block_on(by_tasks(lap, spawn, |ended| ended))
    })
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

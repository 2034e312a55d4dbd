//! Annulet's `File`, a task a lane.

use std::io;
use std::rc::Rc;

use runtime::Runtime;
use runtime::buf::AlignedBuf;
use runtime::fs::{File, OpenOptions};

use super::{Lane, Run, Task, Work, by_tasks};
use crate::meter::Meter;

pub(crate) const WORKS: &[(Work, Run)] = &[
    (Work::Read, read),
    (Work::ReadDirect, read),
    (Work::Copy, copy),
];

fn read(task: &Task, meter: &mut Meter) -> io::Result<()> {
    let runtime = Runtime::new()?;
    let file = runtime.block_on(async {
        let mut options = OpenOptions::new();
        options.read(true).direct(task.is_direct());
        options.open(&task.source).await
    })?;
    let file = Rc::new(file);
    let spawn = |lane| runtime::spawn(read_lane(file.clone(), lane, task.block));
    meter.laps(task, |lap| {
        runtime.block_on(by_tasks(lap, spawn, |ended| {
            ended.map_err(io::Error::other)?
        }))
    })
}

async fn read_lane(file: Rc<File>, mut lane: Lane, block: usize) -> io::Result<Lane> {
    let mut buf: AlignedBuf = AlignedBuf::with_capacity(block);
    while let Some(offset) = lane.next() {
        let (read, filled) = file.read_at(buf, offset).await;
        lane.check(offset, &filled[..read?])?;
        buf = filled;
    }
    Ok(lane)
}

fn copy(task: &Task, meter: &mut Meter) -> io::Result<()> {
    let runtime = Runtime::new()?;
    let (from, to) = runtime.block_on(async {
        let from = File::open(&task.source).await?;
        let to = File::create(&task.target).await?;
        io::Result::Ok((from, to))
    })?;
    meter.laps(task, |lap| {
        runtime.block_on(async {
            let mut lane = lap.only_lane();
            let mut buf = Vec::with_capacity(task.block);
            while let Some(offset) = lane.next() {
                let (read, filled) = from.read_exact_at(buf, offset).await;
                read?;
                lane.check(offset, &filled)?;
                let (written, filled) = to.write_all_at(filled, offset).await;
                written?;
                buf = filled;
                buf.clear();
            }
            Ok(vec![lane])
        })
    })
}

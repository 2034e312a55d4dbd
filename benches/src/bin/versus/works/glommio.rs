//! Glommio: a `DmaFile` past the page cache, a `BufferedFile` through it, a task a lane. Both give buffers of their own
//! for what was read.

use std::io;
use std::rc::Rc;

use glommio::io::{BufferedFile, DmaFile};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

use super::{Lane, Run, Task, Work, by_tasks};
use crate::meter::Meter;

pub(crate) const WORKS: &[(Work, Run)] = &[
    (Work::Read, read),
    (Work::ReadDirect, read_direct),
    (Work::Copy, copy),
];

/// It is pinned already, with the whole process.
fn executor() -> io::Result<LocalExecutor> {
    Ok(LocalExecutorBuilder::new(Placement::Unbound).make()?)
}

fn read(task: &Task, meter: &mut Meter) -> io::Result<()> {
    let executor = executor()?;
    let file = Rc::new(executor.run(BufferedFile::open(&task.source))?);
    let block = task.block;
    let one = |file: Rc<BufferedFile>, mut lane: Lane| async move {
        while let Some(offset) = lane.next() {
            lane.check(offset, &file.read_at(offset, block).await?)?;
        }
        Ok(lane)
    };
    let spawn = |lane| glommio::spawn_local(one(file.clone(), lane));
    meter.laps(task, |lap| {
        executor.run(by_tasks(lap, spawn, |ended| ended))
    })?;
    executor.run(closed(file, BufferedFile::close))
}

fn read_direct(task: &Task, meter: &mut Meter) -> io::Result<()> {
    let executor = executor()?;
    let file = Rc::new(executor.run(DmaFile::open(&task.source))?);
    let block = task.block;
    let one = |file: Rc<DmaFile>, mut lane: Lane| async move {
        while let Some(offset) = lane.next() {
            lane.check(offset, &file.read_at_aligned(offset, block).await?)?;
        }
        Ok(lane)
    };
    let spawn = |lane| glommio::spawn_local(one(file.clone(), lane));
    meter.laps(task, |lap| {
        executor.run(by_tasks(lap, spawn, |ended| ended))
    })?;
    executor.run(closed(file, DmaFile::close))
}

fn copy(task: &Task, meter: &mut Meter) -> io::Result<()> {
    let executor = executor()?;
    let (from, to) = executor.run(async {
        let from = BufferedFile::open(&task.source).await?;
        let to = BufferedFile::create(&task.target).await?;
        io::Result::Ok((from, to))
    })?;
    meter.laps(task, |lap| {
        executor.run(async {
            let mut lane = lap.only_lane();
            while let Some(offset) = lane.next() {
                let read = from.read_at(offset, task.block).await?;
                lane.check(offset, &read)?;
                // It takes nothing but a vector, and keeps it.
                if to.write_at(read.to_vec(), offset).await? < task.block {
                    return Err(io::ErrorKind::WriteZero.into());
                }
            }
            Ok(vec![lane])
        })
    })?;
    executor.run(async {
        from.close().await?;
        Ok(to.close().await?)
    })
}

/// Glommio complains of files that are dropped.
async fn closed<T, F>(file: Rc<T>, close: impl FnOnce(T) -> F) -> io::Result<()>
where
    F: Future<Output = glommio::Result<(), ()>>,
{
    match Rc::into_inner(file) {
        Some(file) => Ok(close(file).await?),
        None => Ok(()),
    }
}

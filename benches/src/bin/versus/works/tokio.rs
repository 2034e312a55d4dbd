//! Tokio: single reads at offsets by `spawn_blocking`, which is how its own files do it; a copy by its `File`s.

use std::io::{self, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;

use runtime::buf::AlignedBuf;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::runtime::Runtime;

use super::{Lane, Run, Task, Work, by_tasks};
use crate::meter::Meter;

pub(crate) const WORKS: &[(Work, Run)] = &[
    (Work::Read, read),
    (Work::ReadDirect, read),
    (Work::Copy, copy),
];

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn read(task: &Task, meter: &mut Meter) -> io::Result<()> {
    let runtime = runtime()?;
    let mut options = std::fs::OpenOptions::new();
    options.read(true).custom_flags(task.open_flags());
    let file = Arc::new(options.open(&task.source)?);
    let spawn = |lane| tokio::spawn(read_lane(file.clone(), lane, task.block));
    meter.laps(task, |lap| {
        runtime.block_on(by_tasks(lap, spawn, |ended| ended?))
    })
}

async fn read_lane(file: Arc<std::fs::File>, mut lane: Lane, block: usize) -> io::Result<Lane> {
    let mut buf: AlignedBuf = AlignedBuf::zeroed(block);
    while let Some(offset) = lane.next() {
        let file = file.clone();
        let read =
            tokio::task::spawn_blocking(move || file.read_exact_at(&mut buf, offset).map(|()| buf));
        buf = read.await??;
        lane.check(offset, &buf)?;
    }
    Ok(lane)
}

fn copy(task: &Task, meter: &mut Meter) -> io::Result<()> {
    let runtime = runtime()?;
    let (mut from, mut to) = runtime.block_on(async {
        let from = File::open(&task.source).await?;
        let to = File::create(&task.target).await?;
        io::Result::Ok((from, to))
    })?;
    meter.laps(task, |lap| {
        runtime.block_on(async {
            let mut lane = lap.only_lane();
            let mut buf = vec![0; task.block];
            while let Some(offset) = lane.next() {
                if offset == 0 {
                    from.seek(SeekFrom::Start(0)).await?;
                    to.seek(SeekFrom::Start(0)).await?;
                }
                from.read_exact(&mut buf).await?;
                lane.check(offset, &buf)?;
                to.write_all(&buf).await?;
            }
            // It has only begun to write the last of them.
            to.flush().await?;
            Ok(vec![lane])
        })
    })
}

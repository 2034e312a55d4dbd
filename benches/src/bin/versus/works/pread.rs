//! System calls, one after another.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use runtime::buf::AlignedBuf;
use rustix::fs::OFlags;

use super::{Run, Task, Work};
use crate::meter::Meter;

pub(crate) const WORKS: &[(Work, Run)] = &[
    (Work::Read, read),
    (Work::ReadDirect, read),
    (Work::Copy, copy),
];

fn read(task: &Task, meter: &mut Meter) -> io::Result<()> {
    let mut options = OpenOptions::new();
    if task.is_direct() {
        options.custom_flags(OFlags::DIRECT.bits().cast_signed());
    }
    let file = options.read(true).open(&task.source)?;
    let mut buf: AlignedBuf = AlignedBuf::zeroed(task.block);
    meter.laps(task, |lap| {
        let mut lane = lap.only_lane();
        while let Some(offset) = lane.next() {
            file.read_exact_at(&mut buf, offset)?;
            lane.check(offset, &buf)?;
        }
        Ok(vec![lane])
    })
}

fn copy(task: &Task, meter: &mut Meter) -> io::Result<()> {
    let from = File::open(&task.source)?;
    let to = File::create(&task.target)?;
    let mut buf = vec![0; task.block];
    meter.laps(task, |lap| {
        let mut lane = lap.only_lane();
        while let Some(offset) = lane.next() {
            from.read_exact_at(&mut buf, offset)?;
            lane.check(offset, &buf)?;
            to.write_all_at(&buf, offset)?;
        }
        Ok(vec![lane])
    })
}

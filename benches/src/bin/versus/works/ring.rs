//! A loop over io_uring by hand: an entry a lane in flight.
//!
//! One enter runs only so much of what has completed; a loop that does not mind gets its completions from a fast disk in
//! helpings, and pays an enter for each. So this one enters until nothing is left to run, and then hands over more.
#![allow(unsafe_code, reason = "entries point at the lanes' buffers")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};
use runtime::buf::AlignedBuf;
use rustix::fs::OFlags;

use super::{Lane, Lap, Run, Task, Work};
use crate::meter::Meter;

pub(crate) const WORKS: &[(Work, Run)] = &[
    (Work::Read, read),
    (Work::ReadDirect, read),
    (Work::Copy, copy),
];

/// A ring that is gone through in rounds: hand over, wait, take what has come.
struct Loop {
    ring: IoUring,
    completed: Vec<(usize, usize)>,
}

impl Loop {
    fn new(depth: usize) -> io::Result<Loop> {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_no_sqarray()
            .build(u32::try_from(depth.next_power_of_two()).unwrap_or(u32::MAX))?;
        Ok(Loop {
            ring,
            completed: Vec::with_capacity(depth),
        })
    }

    /// Runs until nothing is in flight. `next` is told who has completed with how many bytes, and says what follows.
    ///
    /// # Safety
    ///
    /// What an entry points at must stay, and be nobody else's, until its completion.
    unsafe fn run(
        &mut self,
        first: impl IntoIterator<Item = Entry>,
        mut next: impl FnMut(usize, usize) -> io::Result<Option<Entry>>,
    ) -> io::Result<()> {
        let (mut submitter, mut queue, mut completions) = self.ring.split();
        submitter.register_ring_fd()?;
        let mut in_flight = 0;
        for entry in first {
            // SAFETY: the caller's word.
            unsafe { queue.push(&entry) }.map_err(io::Error::other)?;
            in_flight += 1;
        }
        let mut failed = None;
        while in_flight > 0 {
            queue.sync();
            match submitter.submit_and_wait(1) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => queue.sync(),
            }
            while queue.taskrun() {
                submitter.submit()?;
            }
            completions.sync();
            for completion in &mut completions {
                in_flight -= 1;
                match usize::try_from(completion.result()) {
                    Ok(n) => self.completed.push((completion.user_data() as usize, n)),
                    Err(_) => failed = Some(io::Error::from_raw_os_error(-completion.result())),
                }
            }
            for (index, n) in self.completed.drain(..) {
                if failed.is_some() {
                    continue;
                }
                match next(index, n) {
                    Ok(Some(entry)) => {
                        // SAFETY: the caller's word. There is room: each takes the place of one that has completed.
                        unsafe { queue.push(&entry) }.map_err(io::Error::other)?;
                        in_flight += 1;
                    }
                    Ok(None) => {}
                    // What is in flight has to end first.
                    Err(error) => failed = Some(error),
                }
            }
        }
        submitter.unregister_ring_fd()?;
        failed.map_or(Ok(()), Err)
    }
}

struct Reader {
    lane: Lane,
    buf: AlignedBuf,
    offset: u64,
}

impl Reader {
    fn next(&mut self, index: usize, file: &File) -> Option<Entry> {
        self.offset = self.lane.next()?;
        Some(read_at(file, &mut self.buf, self.offset).user_data(index as u64))
    }
}

fn read_at(file: &File, buf: &mut AlignedBuf, offset: u64) -> Entry {
    let len = buf.len() as u32;
    opcode::Read::new(types::Fd(file.as_raw_fd()), buf.as_mut_ptr(), len)
        .offset(offset)
        .build()
}

fn write_at(file: &File, buf: &AlignedBuf, offset: u64) -> Entry {
    let len = buf.len() as u32;
    opcode::Write::new(types::Fd(file.as_raw_fd()), buf.as_ptr(), len)
        .offset(offset)
        .build()
}

fn read(task: &Task, meter: &mut Meter) -> io::Result<()> {
    let mut options = OpenOptions::new();
    if task.is_direct() {
        options.custom_flags(OFlags::DIRECT.bits().cast_signed());
    }
    let file = options.read(true).open(&task.source)?;
    let mut ring = Loop::new(task.depth)?;
    meter.laps(task, |lap| read_lanes(&mut ring, &file, lap, task.block))
}

fn read_lanes(ring: &mut Loop, file: &File, lap: &Lap<'_>, block: usize) -> io::Result<Vec<Lane>> {
    let reader = |lane| Reader {
        lane,
        buf: AlignedBuf::zeroed(block),
        offset: 0,
    };
    let mut readers: Vec<Reader> = lap.lanes().map(reader).collect();
    let first: Vec<Entry> = readers
        .iter_mut()
        .enumerate()
        .filter_map(|(index, reader)| reader.next(index, file))
        .collect();
    // SAFETY: the buffers are the readers', who stay until the loop has ended, and with it all reads; each has one read in
    // flight, and looks at its buffer when that has completed.
    unsafe {
        ring.run(first, |index, n| {
            let reader = &mut readers[index];
            reader.lane.check(reader.offset, &reader.buf[..n])?;
            Ok(reader.next(index, file))
        })?;
    }
    Ok(readers.into_iter().map(|reader| reader.lane).collect())
}

fn copy(task: &Task, meter: &mut Meter) -> io::Result<()> {
    let (from, to) = (File::open(&task.source)?, File::create(&task.target)?);
    let mut ring = Loop::new(1)?;
    let mut buf: AlignedBuf = AlignedBuf::zeroed(task.block);
    meter.laps(task, |lap| {
        let mut lane = lap.only_lane();
        let mut offset = lane.next();
        let first = offset.map(|offset| read_at(&from, &mut buf, offset));
        let mut is_read = true;
        // SAFETY: the buffer is this function's, and so is the loop, which ends when nothing is in flight; one entry is at
        // a time, and what has completed is looked at before the next.
        unsafe {
            ring.run(first, |_, n| {
                let Some(at) = offset else { return Ok(None) };
                if n < buf.len() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if is_read {
                    lane.check(at, &buf)?;
                    is_read = false;
                    return Ok(Some(write_at(&to, &buf, at)));
                }
                is_read = true;
                offset = lane.next();
                Ok(offset.map(|offset| read_at(&from, &mut buf, offset)))
            })?;
        }
        Ok(vec![lane])
    })
}

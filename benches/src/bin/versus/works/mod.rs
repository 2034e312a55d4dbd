//! What contenders do by themselves, without a client, and measure: one process, on one core.
//!
//! A file a contender, each with its `WORKS`; what they share is here: the file ([`pattern`]), and who reads what when.
//! The file's every word follows from its place, so what was read can be checked: the ends of each block, all of every so
//! many.

pub(crate) mod annulet;
#[cfg(feature = "peers")]
pub(crate) mod compio;
#[cfg(feature = "peers")]
pub(crate) mod glommio;
#[cfg(feature = "peers")]
pub(crate) mod monoio;
mod pattern;
pub(crate) mod pread;
pub(crate) mod ring;
pub(crate) mod tokio;
#[cfg(feature = "peers")]
pub(crate) mod tokio_uring;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Instant;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::meter::Meter;
use crate::workloads::{Cost, Kind, Workload};

pub(crate) const READ: Workload = Workload {
    name: "read",
    about: "--depth reads at a time of --size bytes, anywhere in a file that is cached",
    connections: 1,
    size: 4096,
    kind: Kind::Alone(Work::Read),
    cost: Cost::Cpu,
};

pub(crate) const READ_DIRECT: Workload = Workload {
    name: "read-direct",
    about: "the same from the disk (O_DIRECT)",
    connections: 1,
    size: 4096,
    kind: Kind::Alone(Work::ReadDirect),
    cost: Cost::Cpu,
};

pub(crate) const COPY: Workload = Workload {
    name: "copy",
    about: "a file copied from end to end, cached, --size bytes at a time",
    connections: 1,
    size: 128 * 1024,
    kind: Kind::Alone(Work::Copy),
    cost: Cost::Cpu,
};

/// What a contender can do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Reads [`Lane`] by lane, all lanes at once.
    Read,
    /// The same, past the page cache.
    ReadDirect,
    /// Reads block after block and writes it to the same place in another file; one lane.
    Copy,
}

/// Does it, by way of [`Meter::laps`].
pub(crate) type Run = fn(&Task, &mut Meter) -> io::Result<()>;

/// What such a process is told.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) work: Work,
    /// To be read: `len` bytes of [`pattern`].
    pub(crate) source: PathBuf,
    /// To be written, where that is asked for.
    pub(crate) target: PathBuf,
    /// A multiple of `block`.
    pub(crate) len: u64,
    pub(crate) block: usize,
    pub(crate) depth: usize,
}

impl Task {
    pub(crate) fn is_direct(&self) -> bool {
        self.work == Work::ReadDirect
    }

    /// For those whose options of an open file know no more than the standard library's.
    fn open_flags(&self) -> i32 {
        match self.is_direct() {
            true => OFlags::DIRECT.bits().cast_signed(),
            false => 0,
        }
    }

    /// Reads are timed, and checked to the last byte, once in so many: both cost.
    fn sample(&self) -> u64 {
        if self.is_direct() { 16 } else { 64 }
    }
}

/// One stretch of work: the warm-up, or what is measured.
pub(crate) struct Lap<'a> {
    task: &'a Task,
    end: Instant,
}

impl Lap<'_> {
    /// As many as are to be at work at once.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = Lane> {
        (0..self.task.depth).map(|index| self.lane(index))
    }

    fn lane(&self, index: usize) -> Lane {
        let task = self.task;
        Lane {
            random: (task.work != Work::Copy).then_some((index as u64 + 1) << 32),
            block: task.block,
            blocks: task.len / task.block as u64,
            sample: task.sample(),
            end: self.end,
            done: 0,
            since: None,
            latencies: Vec::with_capacity(4096),
        }
    }

    /// The only lane of a work that has no more.
    pub(crate) fn only_lane(&self) -> Lane {
        self.lane(0)
    }
}

/// One read after another.
pub(crate) struct Lane {
    /// Where the sequence of its places has got to; none: they are in order.
    random: Option<u64>,
    block: usize,
    blocks: u64,
    sample: u64,
    end: Instant,
    done: u64,
    /// Of a read that is timed.
    since: Option<Instant>,
    latencies: Vec<u64>,
}

impl Lane {
    /// Where to read the next block; none: enough.
    pub(crate) fn next(&mut self) -> Option<u64> {
        if self.done.is_multiple_of(self.sample) {
            let now = Instant::now();
            if now >= self.end {
                return None;
            }
            self.since = Some(now);
        }
        let index = match &mut self.random {
            Some(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = pattern::mix(*state);
                ((u128::from(mixed) * u128::from(self.blocks)) >> 64) as u64
            }
            None => self.done % self.blocks,
        };
        Some(index * self.block as u64)
    }

    /// To be told what was read there.
    pub(crate) fn check(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let since = self.since.take();
        if let Some(since) = since {
            let nanoseconds = since.elapsed().as_nanos();
            self.latencies
                .push(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        }
        self.done += 1;
        let holds = bytes.len() == self.block
            && match since {
                Some(_) => pattern::holds(offset, bytes),
                None => pattern::holds_at_its_ends(offset, bytes),
            };
        if holds {
            return Ok(());
        }
        Err(io::Error::other("a read brought other bytes"))
    }
}

/// Has each lane of a lap read along by a task that `spawn` starts, and gathers them; `ended` is what a task's end says.
async fn by_tasks<T: Future>(
    lap: &Lap<'_>,
    spawn: impl Fn(Lane) -> T,
    ended: impl Fn(T::Output) -> io::Result<Lane>,
) -> io::Result<Vec<Lane>> {
    let tasks: Vec<T> = lap.lanes().map(spawn).collect();
    let mut lanes = Vec::with_capacity(tasks.len());
    for task in tasks {
        lanes.push(ended(task.await)?);
    }
    Ok(lanes)
}

/// A vector with a part of so many bytes where `O_DIRECT` wants them, for those who cannot ask for such memory.
#[cfg(feature = "peers")]
fn aligned_part(block: usize) -> (Vec<u8>, std::ops::Range<usize>) {
    const ALIGN: usize = 4096;
    let buf = vec![0; block + ALIGN];
    let start = buf.as_ptr().align_offset(ALIGN);
    (buf, start..start + block)
}

impl Meter {
    /// Calls `lap` for every stretch of work that is asked for. It takes the lap's lanes, reads along each until it ends,
    /// and gives all of them back.
    pub(crate) fn laps(
        &mut self,
        task: &Task,
        mut lap: impl FnMut(&Lap<'_>) -> io::Result<Vec<Lane>>,
    ) -> io::Result<()> {
        // Every lap begins at the file's front.
        let mut furthest = 0;
        self.run(|duration, latencies| {
            let end = Instant::now() + duration;
            let lanes = lap(&Lap { task, end })?;
            for latency in lanes.iter().flat_map(|lane| &lane.latencies) {
                latencies.saturating_record(*latency);
            }
            let done: u64 = lanes.iter().map(|lane| lane.done).sum();
            furthest = done.max(furthest);
            Ok(done)
        })?;
        if task.work == Work::Copy {
            let copied = task.len.min(furthest * task.block as u64);
            pattern::check(&File::open(&task.target)?, copied)?;
        }
        Ok(())
    }
}

/// What files to make, and where.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    /// Bytes to be read.
    pub(crate) len: u64,
}

impl Default for Place {
    /// Larger than the caches of the processor, small enough to be cached as a whole.
    fn default() -> Place {
        Place {
            dir: std::env::temp_dir(),
            len: 256 << 20,
        }
    }
}

/// The file that is read, while this lives. It has no name, nor do those that are written, so nothing is left behind,
/// however this process ends; those that it starts open them by way of its descriptors.
pub(crate) struct Files {
    source: File,
    dir: PathBuf,
}

impl Files {
    /// At most so much is copied, lest the disk's own pace matter.
    const COPIED: u64 = 64 << 20;

    pub(crate) fn make(place: &Place) -> io::Result<Files> {
        let source = tempfile::tempfile_in(&place.dir)?;
        pattern::fill(&source, place.len)?;
        source.sync_all()?;
        Ok(Files {
            source,
            dir: place.dir.clone(),
        })
    }

    /// What is to be done, and the file to be written: to be kept as long, and nobody else's.
    pub(crate) fn task(&self, work: Work, block: usize, depth: usize) -> io::Result<(Task, File)> {
        let path = |file: &File| format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        let whole = self.source.metadata()?.len();
        let len = if work == Work::Copy {
            whole.min(Files::COPIED)
        } else {
            whole
        };
        let len = len - len % block as u64;
        if len == 0 || !block.is_multiple_of(8) {
            let told = "a block is a multiple of 8 bytes, and no larger than the file";
            return Err(io::Error::other(told));
        }
        let target = tempfile::tempfile_in(&self.dir)?;
        let task = Task {
            work,
            source: path(&self.source).into(),
            target: path(&target).into(),
            len,
            block,
            depth,
        };
        Ok((task, target))
    }
}

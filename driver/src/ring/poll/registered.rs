//! The table of memory (`IORING_REGISTER_BUFFERS2`), for `READ_FIXED` and `WRITE_FIXED`: here it only says what they may
//! touch. And what fills the tables.

use std::io;
use std::ops::Range;
use std::os::fd::RawFd;

use super::PollRing;
use super::entry::Entry;
use crate::ring::registered::{Free, Tables};

/// As many rows as a table may have, and bytes as a row.
const MOST: u32 = 1 << 14;
const MOST_BYTES: usize = 1 << 30;

/// The table, if there is one: addresses.
#[derive(Debug, Default)]
pub(super) struct Regions(Option<Vec<Range<u64>>>);

impl Regions {
    /// Whether the memory of an entry lies in the row that it names; `EFAULT` if not.
    pub(super) fn check(&self, entry: &Entry) -> Result<(), i32> {
        let rows = self.0.as_deref().unwrap_or_default();
        let region = rows.get(usize::from(entry.buf_index));
        let end = entry.addr.checked_add(entry.len.into());
        match (region, end) {
            (Some(region), Some(end))
                if !region.is_empty() && region.start <= entry.addr && end <= region.end =>
            {
                Ok(())
            }
            _ => Err(-libc::EFAULT),
        }
    }
}

fn no<T>(errno: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(errno))
}

impl Tables for PollRing {
    fn free(&mut self) -> &mut Free {
        &mut self.free
    }

    fn is_ours(&self) -> bool {
        self.owner.is_this()
    }

    fn register_buffers_sparse(&mut self, rows: u32) -> io::Result<()> {
        match rows {
            0 => no(libc::EINVAL),
            _ if self.regions.0.is_some() => no(libc::EBUSY),
            _ if rows > MOST => no(libc::EINVAL),
            _ => {
                self.regions.0 = Some(vec![0..0; rows as usize]);
                Ok(())
            }
        }
    }

    fn register_buffers_update(&mut self, row: u32, ptr: *const u8, len: usize) -> io::Result<()> {
        let Some(rows) = &mut self.regions.0 else {
            return no(libc::ENXIO);
        };
        let Some(region) = rows.get_mut(row as usize) else {
            return no(libc::EINVAL);
        };
        let start = ptr as u64;
        match (ptr.is_null(), len) {
            (true, 0) => *region = 0..0,
            (false, 1..=MOST_BYTES) => *region = start..start.saturating_add(len as u64),
            _ => return no(libc::EFAULT),
        }
        Ok(())
    }

    fn register_files_sparse(&mut self, rows: u32) -> io::Result<()> {
        self.make_file_table(rows)
    }

    fn register_files_update(&mut self, row: u32, fds: &[RawFd]) -> io::Result<usize> {
        self.update_files(row, fds)
    }

    fn unregister_files(&mut self) -> io::Result<()> {
        self.end_file_table()
    }
}

//! What a ring knows beforehand: a table of memory and one of files, so that entries name a row.
//!
//! The tables are the rings' ([`Tables`]); which rows are free is kept here. They are made when the first row is needed.

use std::io;
use std::os::fd::RawFd;

/// Rows of the tables.
const BUFFERS: u16 = 64;
const FILES: u32 = 256;

/// The rows that nobody has, of the tables that were made.
#[derive(Debug, Default)]
pub(super) struct Free {
    buffers: Option<Vec<u16>>,
    files: Option<Vec<u32>>,
}

/// A ring that has tables, with the calls of `io_uring_register(2)`.
pub(super) trait Tables {
    fn free(&mut self) -> &mut Free;

    /// Whether the ring is this process's, and no forked child's copy.
    fn is_ours(&self) -> bool;

    /// Makes the table of memory, all rows empty. `IORING_REGISTER_BUFFERS2`, Linux 5.19.
    fn register_buffers_sparse(&mut self, rows: u32) -> io::Result<()>;

    /// Fills a row of it; with nothing, if there is no length.
    fn register_buffers_update(&mut self, row: u32, ptr: *const u8, len: usize) -> io::Result<()>;

    /// Makes the table of files, all rows empty. `IORING_REGISTER_FILES2`, Linux 5.19 for empty ones.
    fn register_files_sparse(&mut self, rows: u32) -> io::Result<()>;

    /// Fills rows of it, from `row` on; -1 empties one, -2 leaves it. How many: not all, if a later one cannot be.
    fn register_files_update(&mut self, row: u32, fds: &[RawFd]) -> io::Result<usize>;

    /// Ends the table of files.
    fn unregister_files(&mut self) -> io::Result<()>;

    /// As [`Ring::register_buffer`](super::Ring::register_buffer).
    fn register_buffer(&mut self, ptr: *const u8, len: usize) -> io::Result<u16> {
        if !self.is_ours() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        if self.free().buffers.is_none() {
            self.register_buffers_sparse(BUFFERS.into())?;
            self.free().buffers = Some((0..BUFFERS).rev().collect());
        }
        let row = last(self.free().buffers.as_ref())?;
        self.register_buffers_update(row.into(), ptr, len)?;
        self.free().buffers.as_mut().and_then(Vec::pop);
        Ok(row)
    }

    /// As [`Ring::unregister_buffer`](super::Ring::unregister_buffer).
    fn unregister_buffer(&mut self, row: u16) {
        // A row that could not be cleared is not used again.
        if self.is_ours()
            && self
                .register_buffers_update(row.into(), std::ptr::null(), 0)
                .is_ok()
            && let Some(free) = &mut self.free().buffers
        {
            free.push(row);
        }
    }

    /// As [`Ring::register_file`](super::Ring::register_file).
    fn register_file(&mut self, fd: RawFd) -> io::Result<u32> {
        if !self.is_ours() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        if self.free().files.is_none() {
            self.register_files_sparse(FILES)?;
            self.free().files = Some((0..FILES).rev().collect());
        }
        let row = last(self.free().files.as_ref())?;
        self.register_files_update(row, &[fd])?;
        self.free().files.as_mut().and_then(Vec::pop);
        Ok(row)
    }

    /// As [`Ring::unregister_file`](super::Ring::unregister_file).
    fn unregister_file(&mut self, row: u32) {
        // A row that could not be cleared is not used again.
        if self.is_ours()
            && self.register_files_update(row, &[-1]).is_ok()
            && let Some(free) = &mut self.free().files
        {
            free.push(row);
        }
    }

    /// The ring goes: the kernel's table would hold the files for some milliseconds more.
    fn forget_files(&mut self) {
        if self.free().files.take().is_some() {
            // Nothing names them any more. What fails here the end of the ring does.
            let _ = self.unregister_files();
        }
    }
}

fn last<T: Copy>(free: Option<&Vec<T>>) -> io::Result<T> {
    let row = free.and_then(|free| free.last().copied());
    row.ok_or_else(|| io::ErrorKind::QuotaExceeded.into())
}

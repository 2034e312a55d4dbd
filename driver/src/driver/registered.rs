//! What the ring knows beforehand: regions of memory, and files.

use std::io;
use std::os::fd::RawFd;

use io_uring::opcode;

use super::Driver;
use crate::buf::Region;

impl Driver {
    /// Has the ring know `region`, if it can.
    pub(crate) fn register_region(&self, region: &Region) -> io::Result<()> {
        if region.index_on(self.id()).is_some() {
            return Ok(());
        }
        let known =
            self.supports(opcode::ReadFixed::CODE) && self.supports(opcode::WriteFixed::CODE);
        if !self.inner.fixed_buffers || !known {
            return Err(io::ErrorKind::Unsupported.into());
        }
        region.known_to(&self.inner.remote, |ptr, len| {
            self.core().ring.register_buffer(ptr, len)
        })
    }

    /// Has the ring know the file of `fd`, and tells by which row of its table.
    pub(crate) fn register_file(&self, fd: RawFd) -> io::Result<u32> {
        if !self.inner.fixed_files || self.is_closed() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.core().ring.register_file(fd)
    }

    /// Has the ring let go of the file in `row`, which no operation names any more.
    pub(crate) fn forget_file(&self, row: u32) {
        self.core().ring.unregister_file(row);
    }

    /// Has the ring forget a region, which no operation names any more.
    pub(crate) fn forget_region(&self, index: u16) {
        match self.inner.core.try_borrow_mut() {
            Ok(mut core) => core.ring.unregister_buffer(index),
            // Whoever drops the last buffer has the driver: later.
            Err(_) => self.inner.remote.forget_region(index),
        }
    }
}

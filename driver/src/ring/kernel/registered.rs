//! What the kernel knows beforehand: a table of memory, so that entries name a row of it.

use std::io;

use super::KernelRing;

/// Rows of the table, which is made when the first is needed.
const BUFFERS: u16 = 64;

impl KernelRing {
    /// As [`Ring::register_buffer`](crate::ring::Ring::register_buffer). `IORING_REGISTER_BUFFERS2`, Linux 5.19.
    pub(in crate::ring) fn register_buffer(
        &mut self,
        ptr: *const u8,
        len: usize,
    ) -> io::Result<u16> {
        if !self.owner.is_this() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        if self.buffers.is_none() {
            self.ring
                .submitter()
                .register_buffers_sparse(BUFFERS.into())?;
            self.buffers = Some((0..BUFFERS).rev().collect());
        }
        let free = self.buffers.as_ref().and_then(|free| free.last().copied());
        let Some(index) = free else {
            return Err(io::ErrorKind::QuotaExceeded.into());
        };
        self.update_buffer(index, ptr, len)?;
        self.buffers.as_mut().and_then(Vec::pop);
        Ok(index)
    }

    /// As [`Ring::unregister_buffer`](crate::ring::Ring::unregister_buffer).
    pub(in crate::ring) fn unregister_buffer(&mut self, index: u16) {
        if !self.owner.is_this() {
            return;
        }
        // A row that could not be cleared is not used again.
        if self.update_buffer(index, std::ptr::null(), 0).is_ok()
            && let Some(free) = &mut self.buffers
        {
            free.push(index);
        }
    }

    fn update_buffer(&self, index: u16, ptr: *const u8, len: usize) -> io::Result<()> {
        let memory = libc::iovec {
            iov_base: ptr.cast_mut().cast(),
            iov_len: len,
        };
        // SAFETY: the kernel keeps the pages for as long as it knows them, and writes there only for entries that name
        // them, whose memory an `Sqe` vouches for.
        unsafe {
            self.ring
                .submitter()
                .register_buffers_update(index.into(), &[memory], None)
        }
    }
}

//! What the kernel knows beforehand: a table of memory and one of files, so that entries name a row.

use std::io;
use std::os::fd::RawFd;

use super::KernelRing;

/// Rows of the tables, which are made when the first is needed.
const BUFFERS: u16 = 64;
const FILES: u32 = 256;

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

    /// As [`Ring::register_file`](crate::ring::Ring::register_file). `IORING_REGISTER_FILES2`, Linux 5.19 for a table with
    /// rows to spare.
    pub(in crate::ring) fn register_file(&mut self, fd: RawFd) -> io::Result<u32> {
        if !self.owner.is_this() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let submitter = self.ring.submitter();
        if self.files.is_none() {
            submitter.register_files_sparse(FILES)?;
            self.files = Some((0..FILES).rev().collect());
        }
        let free = self.files.as_ref().and_then(|free| free.last().copied());
        let Some(row) = free else {
            return Err(io::ErrorKind::QuotaExceeded.into());
        };
        submitter.register_files_update(row, &[fd])?;
        self.files.as_mut().and_then(Vec::pop);
        Ok(row)
    }

    /// As [`Ring::unregister_file`](crate::ring::Ring::unregister_file).
    pub(in crate::ring) fn unregister_file(&mut self, row: u32) {
        if !self.owner.is_this() {
            return;
        }
        // A row that could not be cleared is not used again.
        if self
            .ring
            .submitter()
            .register_files_update(row, &[-1])
            .is_ok()
            && let Some(free) = &mut self.files
        {
            free.push(row);
        }
    }

    /// The ring goes: its table would hold the files for some milliseconds more.
    pub(super) fn forget_files(&mut self) {
        if self.files.take().is_some() {
            // Nothing names them any more. What fails here the end of the ring does.
            let _ = self.ring.submitter().unregister_files();
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::os::fd::AsRawFd;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use crate::op::Read;
    use crate::{Driver, DriverKind, Fd, Op, Setup, Wait};

    #[test]
    fn reads_of_a_file_that_the_ring_knows_do_not_go_by_its_number() {
        for plain in [false, true] {
            let setup = Setup {
                driver: DriverKind::Kernel,
                plain,
                attempts: false,
                ..Setup::default()
            };
            let Ok(driver) = Driver::new(&setup) else {
                return;
            };
            let _entered = driver.enter();
            let open = |path| Fd::new(std::fs::File::open(path).unwrap().into());
            let read = |fd: &Fd| {
                let mut read = Op::on(fd, Read::at([1; 8], 0));
                loop {
                    let mut cx = Context::from_waker(Waker::noop());
                    if let Poll::Ready((read, _)) = Pin::new(&mut read).poll(&mut cx) {
                        return read.unwrap();
                    }
                    driver.turn(Wait::AtMost(None)).unwrap();
                }
            };
            let (known, unknown, null) = (open("/dev/zero"), open("/dev/zero"), open("/dev/null"));
            known.register().unwrap();
            assert_eq!((read(&known), read(&unknown)), (8, 8));
            for fd in [&known, &unknown] {
                // SAFETY: both numbers are open, and this test's.
                assert!(unsafe { libc::dup2(null.as_raw_fd(), fd.as_raw_fd()) } >= 0);
            }
            assert_eq!((read(&known), read(&unknown)), (8, 0));
            drop((known, unknown, null));
            assert!(driver.shutdown(std::time::Duration::from_secs(10)));
        }
    }
}

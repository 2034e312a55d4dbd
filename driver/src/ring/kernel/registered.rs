//! The kernel's tables of memory and files.

use std::io;
use std::os::fd::RawFd;

use super::KernelRing;
use crate::ring::registered::{Free, Tables};

impl Tables for KernelRing {
    fn free(&mut self) -> &mut Free {
        &mut self.free
    }

    fn is_ours(&self) -> bool {
        self.owner.is_this()
    }

    fn register_buffers_sparse(&mut self, rows: u32) -> io::Result<()> {
        self.ring.submitter().register_buffers_sparse(rows)
    }

    fn register_buffers_update(&mut self, row: u32, ptr: *const u8, len: usize) -> io::Result<()> {
        let memory = libc::iovec {
            iov_base: ptr.cast_mut().cast(),
            iov_len: len,
        };
        // SAFETY: the kernel keeps the pages for as long as it knows them, and writes there only for entries that name
        // them, whose memory an `Sqe` vouches for.
        unsafe {
            self.ring
                .submitter()
                .register_buffers_update(row, &[memory], None)
        }
    }

    fn register_files_sparse(&mut self, rows: u32) -> io::Result<()> {
        self.ring.submitter().register_files_sparse(rows)
    }

    fn register_files_update(&mut self, row: u32, fds: &[RawFd]) -> io::Result<usize> {
        self.ring.submitter().register_files_update(row, fds)
    }

    fn unregister_files(&mut self) -> io::Result<()> {
        self.ring.submitter().unregister_files()
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

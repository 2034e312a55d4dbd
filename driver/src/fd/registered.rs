//! A descriptor in its home ring's table of files: operations there name the row, and the kernel need not look the number
//! up, nor hold on to the file, for each.
//!
//! The row holds the file open, whoever closes the number: locks, the ends of pipes, the room on the disk. So the row is
//! cleared first, always, and only its ring's thread can do that. A close that ends elsewhere is handed to that thread
//! ([`Mail::Close`](crate::unpark::Mail)); if its driver is gone, so is the table.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::{Begin, Fd, NONE, Shared, closed_error};
use crate::current;
use crate::driver::Driver;

impl Fd {
    /// Has the ring of this thread's runtime know the file, until it is closed: reads and writes of it there
    /// ([`Read`](crate::op::Read), [`Write`](crate::op::Write) and kin) are cheaper by about a twentieth. Other
    /// operations, and those on other threads, are as before. A plain system call (`IORING_REGISTER_FILES_UPDATE`, Linux
    /// 5.19 for the table). Done twice, it is done once.
    ///
    /// On the ring in user space it takes a second descriptor (`RLIMIT_NOFILE`), and saves the question what the file is,
    /// one system call of each operation's.
    ///
    /// Closing it on another thread then ends on this one: it waits for the runtime's next turn here.
    ///
    /// # Errors
    ///
    /// `Unsupported` outside a runtime, where it is turned off, and if another thread's runtime used the descriptor
    /// first; `QuotaExceeded` if the ring knows 256 files already; `EBADF` if it is closed; otherwise what the kernel
    /// says. The descriptor then works as before.
    ///
    /// # Examples
    ///
    /// ```
    /// use annulet_driver::Fd;
    /// let fd = Fd::new(std::fs::File::open("/dev/zero")?.into());
    /// // Outside a runtime there is no ring to know it.
    /// assert_eq!(fd.register().unwrap_err().kind(), std::io::ErrorKind::Unsupported);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn register(&self) -> io::Result<()> {
        let Some(driver) = current::try_driver() else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        if self.shared.begin(None) == Begin::Closed {
            return Err(closed_error());
        }
        let registered = self.shared.register(&driver);
        // A close that came meanwhile is ended here, and finds the row.
        self.shared.finish_here();
        registered
    }

    /// Whether the ring of this thread's runtime knows the file.
    pub fn is_registered(&self) -> bool {
        current::try_driver()
            .is_some_and(|driver| self.shared.is_home(driver.id()) && self.shared.row().is_some())
    }
}

impl Shared {
    /// Counted in, so that no close ends meanwhile.
    fn register(self: &Arc<Self>, driver: &Driver) -> io::Result<()> {
        if !driver.is_home_of(self) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        if self.row().is_none() {
            self.row.store(driver.register_file(self.raw)?, Release);
        }
        Ok(())
    }

    /// The row of the home ring's table. On the home driver's thread only.
    #[inline]
    pub(crate) fn row(&self) -> Option<u32> {
        Some(self.row.load(Relaxed)).filter(|row| *row != NONE)
    }

    /// Nothing is in flight any more: has the home ring let go of the file. `false`: it is another thread's, which was
    /// asked to close the descriptor.
    pub(super) fn leave_table(self: &Arc<Self>) -> bool {
        if self.row.load(Acquire) == NONE {
            return true;
        }
        match current::try_driver() {
            Some(driver) if self.is_home(driver.id()) => {
                self.leave_table_of(&driver);
                true
            }
            _ => {
                let slow = self.slow();
                let home = slow.rings().find(|ring| self.is_home(ring.id())).cloned();
                drop(slow);
                !home.is_some_and(|home| home.close(self.clone()))
            }
        }
    }

    /// The same on the home driver's thread.
    pub(crate) fn leave_table_of(&self, driver: &Driver) {
        let row = self.row.swap(NONE, AcqRel);
        if row != NONE {
            driver.forget_file(row);
        }
    }

    /// The number is closed already.
    pub(super) fn leave_table_late(self: &Arc<Self>) {
        if self.row.load(Acquire) != NONE {
            // Elsewhere there is nothing left to close but the row.
            self.leave_table();
        }
    }

    /// The home driver is gone, with its table, before it came to close this.
    pub(crate) fn close_without_table(self: &Arc<Self>) {
        self.row.store(NONE, Release);
        self.last_out_here();
    }
}

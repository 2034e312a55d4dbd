//! FIFOs (`fifo(7)`): pipes that have a name.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use annulet_driver::Op;
use annulet_driver::op::OpenAt;
use rustix::fs::{CWD, Mode, OFlags, fstat, mkfifoat};

use super::{PipeReader, PipeWriter, adopt};
use crate::metadata::FileType;

/// Makes a FIFO at `path`, with permissions of `mode` less the umask.
///
/// No opcode: runs on the thread pool.
///
/// # Errors
///
/// What `mkfifo(3)` reports: `AlreadyExists`, `NotFound`, `PermissionDenied`. `InvalidInput` for a path with a NUL byte.
///
/// # Cancel safety
///
/// If the future is dropped, the FIFO may be there or not.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::fs::pipe::{FifoOptions, mkfifo};
///
/// # let dir = tempfile::tempdir()?;
/// let path = dir.path().join("fifo");
/// mkfifo(&path, 0o600).await?;
/// let writing = runtime::spawn({
///     let path = path.clone();
///     async move {
///         let writer = FifoOptions::new().open_writer(path).await?;
///         writer.write_all("through a name").await.0
///     }
/// });
/// // Each of the two opens waits for the other; the thread does not.
/// let reader = FifoOptions::new().open_reader(&path).await?;
/// writing.await.unwrap()?;
/// assert_eq!(reader.read([0; 32]).await.0?, 14);
/// # Ok(()) }) }
/// ```
pub async fn mkfifo(path: impl AsRef<Path>, mode: u32) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    blocking::unblock(move || Ok(mkfifoat(CWD, path, Mode::from_raw_mode(mode))?)).await
}

/// How to open a FIFO.
#[derive(Clone, Copy, Debug)]
pub struct FifoOptions {
    waits: bool,
    both_ways: bool,
}

impl Default for FifoOptions {
    fn default() -> FifoOptions {
        FifoOptions::new()
    }
}

impl FifoOptions {
    /// An open waits for the other end, as `open(2)` does.
    pub fn new() -> FifoOptions {
        FifoOptions {
            waits: true,
            both_ways: false,
        }
    }

    /// Whether an open waits until somebody has opened the other end. `true` by default.
    ///
    /// If not, a reading end opens at once: its first read waits for somebody to write, and reads tell the end once all
    /// who wrote are gone. A writing end opens if somebody reads, and fails with `ENXIO` otherwise.
    pub fn wait(mut self, waits: bool) -> FifoOptions {
        self.waits = waits;
        self
    }

    /// Whether to open the other end too. `false` by default.
    ///
    /// Then it opens at once, whoever has the other, and a reader reads no end when the last other writer goes
    /// (`fifo(7)`: a Linux extension).
    pub fn read_write(mut self, both_ways: bool) -> FifoOptions {
        self.both_ways = both_ways;
        self
    }

    /// Opens the reading end of the FIFO at `path`.
    ///
    /// Goes through the ring: `IORING_OP_OPENAT`, Linux 5.6. What waits does so on a worker of the kernel's, not on
    /// this thread.
    ///
    /// # Errors
    ///
    /// What `open(2)` reports. `InvalidInput` if what is there is no FIFO, or for a path with a NUL byte.
    ///
    /// # Cancel safety
    ///
    /// A dropped open is given up; limit it by a timeout. An end that was opened already is closed again.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// See [`mkfifo`].
    pub async fn open_reader(self, path: impl AsRef<Path>) -> io::Result<PipeReader> {
        let fd = self.open(path.as_ref(), OFlags::RDONLY).await?;
        Ok(PipeReader { fd: adopt(fd)? })
    }

    /// Opens the writing end of the FIFO at `path`.
    ///
    /// Otherwise as [`open_reader`](FifoOptions::open_reader).
    ///
    /// # Errors
    ///
    /// As [`open_reader`](FifoOptions::open_reader); `ENXIO` if nobody reads and it was told not to [wait](FifoOptions::wait).
    pub async fn open_writer(self, path: impl AsRef<Path>) -> io::Result<PipeWriter> {
        let fd = self.open(path.as_ref(), OFlags::WRONLY).await?;
        Ok(PipeWriter { fd: adopt(fd)? })
    }

    async fn open(self, path: &Path, end: OFlags) -> io::Result<OwnedFd> {
        let end = if self.both_ways { OFlags::RDWR } else { end };
        let waits = self.waits && !self.both_ways;
        // What does not wait is made to wait in its reads and writes afterwards.
        let flags = if waits { end } else { end | OFlags::NONBLOCK };
        let open = OpenAt::new(path, flags.bits().cast_signed(), 0)?;
        let open = if waits { open.may_block() } else { open };
        let fd = Op::new(open).await?;
        if FileType::from_mode(fstat(&fd)?.st_mode).is_fifo() {
            Ok(fd)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "not a FIFO"))
        }
    }
}

//! How much a pipe holds.

use std::io;

use annulet_driver::Fd;
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

use super::{PipeReader, PipeWriter};

fn capacity(fd: &Fd) -> io::Result<usize> {
    fd.with(|fd| Ok(fcntl_getpipe_size(fd)?))
}

fn set_capacity(fd: &Fd, bytes: usize) -> io::Result<usize> {
    fd.with(|fd| Ok(fcntl_setpipe_size(fd, bytes)?))
}

macro_rules! capacity {
    ($($end:ty),*) => {$(
        impl $end {
            /// How many bytes the pipe holds (`F_GETPIPE_SZ`): 65,536 unless it was set.
            ///
            /// # Errors
            ///
            /// `EBADF` if the end is closed.
            pub fn capacity(&self) -> io::Result<usize> {
                capacity(&self.fd)
            }

            /// Makes the pipe hold at least `bytes` (`F_SETPIPE_SZ`), and tells how many it is now.
            ///
            /// # Errors
            ///
            /// `PermissionDenied` beyond `/proc/sys/fs/pipe-max-size` (1 MiB unless it was set); `ResourceBusy` for less
            /// than is in the pipe; `EBADF` if the end is closed.
            ///
            /// # Examples
            ///
            /// ```
            /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
            /// let (reader, writer) = runtime::fs::pipe()?;
            /// assert_eq!(writer.capacity()?, 65_536);
            /// assert_eq!(writer.set_capacity(100_000)?, 131_072);
            /// assert_eq!(reader.capacity()?, 131_072);
            /// # Ok(()) }) }
            /// ```
            pub fn set_capacity(&self, bytes: usize) -> io::Result<usize> {
                set_capacity(&self.fd, bytes)
            }
        }
    )*};
}

capacity!(PipeReader, PipeWriter);

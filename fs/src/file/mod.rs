//! [`File`]: an open file, as in `std::fs`.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `mod` | opening and closing; from and to the standard library |
//! | `at` | reading and writing at offsets |
//! | `read_many` | reading many blocks, several in flight at a time |
//! | `cursor` | reading and writing where the file's cursor is, and moving that |
//! | `rest` | reading all that is left |
//! | `attributes` | what the file is: length, permissions, times |
//! | `space` | what it takes on the disk and in memory: reserving, punching, advice, syncing |
//! | `lock` | locking it against other processes |

mod at;
mod attributes;
mod cursor;
mod lock;
mod read_many;
mod read_write;
mod rest;
mod space;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::AtomicU8;

use annulet_driver::buf::Alignment;
use annulet_driver::{Close, Fd, IntoStdError};

pub use self::read_many::{Block, ReadMany};
pub use self::space::{Advice, Allocate};
use crate::open_options::OpenOptions;
use crate::pipe;

/// An open file.
///
/// There are two ways to read and write. **At offsets** ([`read_at`](File::read_at), [`write_at`](File::write_at) and
/// their kin): each says where, any number go on side by side. **At the cursor** ([`read`](File::read),
/// [`write`](File::write), [`seek`](File::seek)), which the kernel keeps for the open file, as with `std::fs::File`:
/// these follow one another in the order they were called, reads and writes alike.
///
/// All methods take `&self`. Those that are one operation return [`Op`](annulet_driver::Op), which takes a time limit
/// (`.timeout`, `.deadline`) or a cancel token (`.cancel_with`); those at offsets can be members of a chain.
///
/// **A dropped read at the cursor loses nothing**: the cursor moves when a read's result is taken. So a `select!` may
/// drop reads of a file as it may those of a socket, and what is read next are the same bytes. Where there is no cursor
/// (a FIFO or a terminal opened by its path) the bytes are kept for the next read, and reading and writing do not wait
/// for each other.
///
/// A cursor is shared by all descriptors made from one: handles by [`try_clone`](File::try_clone), those of child
/// processes. What is done there through several of them is not ordered by anything.
///
/// What has no operation of the ring's (permissions, times, locks) runs on a pool of threads; each method says so.
///
/// Dropping the file closes it in the background; [`close`](File::close) tells how that went.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// # let path = std::env::temp_dir().join(format!("annulet-doc-file-{}", std::process::id()));
/// use runtime::fs::File;
///
/// let file = File::create(&path).await?;
/// file.write_all("hello, file").await.0?;
/// file.sync_all().await?;
/// file.close().await?;
///
/// let file = File::open(&path).await?;
/// let (result, buf) = file.read_at(Vec::with_capacity(100), 7).await;
/// assert_eq!(result?, 4);
/// assert_eq!(buf, b"file");
/// # std::fs::remove_file(path)?;
/// # Ok(()) }) }
/// ```
pub struct File {
    pub(crate) fd: Fd,
    /// Whether there is a cursor: looked up when first needed; see `cursor`.
    kind: AtomicU8,
    alignment: Option<Alignment>,
}

impl File {
    pub(crate) fn new(fd: Fd, alignment: Option<Alignment>) -> File {
        File {
            fd,
            kind: AtomicU8::new(cursor::UNKNOWN),
            alignment,
        }
    }

    /// Takes over a descriptor whose flags are not its own to change.
    pub(crate) fn shared(owned: OwnedFd) -> File {
        File::new(Fd::new(owned), None)
    }

    /// Opens the file at `path` for reading.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`], whose shorthand it is.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the file is closed again.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::fs::File;
    /// let missing = File::open("/no/such/file").await.unwrap_err();
    /// assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    /// # Ok(()) }) }
    /// ```
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).open(path).await
    }

    /// Opens the file at `path` for writing: creates it, or empties it if it is there.
    ///
    /// Otherwise as [`open`](File::open).
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        options.open(path).await
    }

    /// Creates a file at `path`, for reading and writing.
    ///
    /// Otherwise as [`open`](File::open).
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if anything is there; otherwise as [`OpenOptions::open`].
    pub async fn create_new(path: impl AsRef<Path>) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        options.open(path).await
    }

    /// The same as [`OpenOptions::new`].
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Ends every operation in flight, then closes the file.
    ///
    /// They resolve as [cancelled](annulet_driver::is_cancelled) before this does; later ones fail with `EBADF`.
    /// Closing twice, or from several tasks or threads, is fine: one closes, all resolve. Goes through the ring:
    /// `IORING_OP_CLOSE`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// What `close(2)` reports: some file systems say only here that writing failed (`EIO`, `ENOSPC`, `EDQUOT`). The
    /// file is closed all the same. That what was written is on the disk only [`sync_all`](File::sync_all) tells.
    ///
    /// # Cancel safety
    ///
    /// The close begins with the call. A dropped future leaves it to finish in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// let file = runtime::fs::File::open("/dev/null").await?;
    /// file.close().await?;
    /// let (result, _buf) = file.read([0; 1]).await;
    /// assert!(result.is_err());
    /// # Ok(()) }) }
    /// ```
    pub fn close(&self) -> Close {
        self.fd.close()
    }

    /// Has the ring of this thread's runtime know the file, until it is closed: reads and writes of it here are then cheaper
    /// by about a twentieth (`IOSQE_FIXED_FILE`). What it does elsewhere, and what refuses it (a file then is as before):
    /// see [`Fd::register`], which this is. For few files that are read or written very often.
    ///
    /// # Errors
    ///
    /// Those of [`Fd::register`].
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// let file = runtime::fs::File::open("/dev/zero").await?;
    /// if file.register().is_err() {
    ///     // Dearer, and nothing else.
    /// }
    /// assert_eq!(file.read_at([1; 4], 0).await.1, [0; 4]);
    /// # Ok(()) }) }
    /// ```
    pub fn register(&self) -> io::Result<()> {
        self.fd.register()
    }

    /// Makes a second handle of the open file (`dup(2)`), with the same cursor. A plain system call that does not
    /// block.
    ///
    /// Nothing orders what the two do at the cursor: await what one has in flight there before the other goes on.
    ///
    /// # Errors
    ///
    /// `EMFILE` when out of descriptors; `EBADF` if the file is closed.
    pub fn try_clone(&self) -> io::Result<File> {
        let fd = self.fd.with(|fd| fd.try_clone_to_owned())?;
        Ok(File::new(Fd::new(fd), self.alignment))
    }

    /// Takes a file of the standard library over. A FIFO or a terminal is made blocking, for all who share it: only so
    /// do reads wait.
    ///
    /// # Errors
    ///
    /// What `fcntl(2)` reports.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// let file = runtime::fs::File::from_std(std::fs::File::open("/dev/zero")?)?;
    /// assert_eq!(file.read_exact([1; 4]).await.1, [0; 4]);
    /// # Ok(()) }) }
    /// ```
    pub fn from_std(file: std::fs::File) -> io::Result<File> {
        Ok(File::new(pipe::adopt(file.into())?, None))
    }

    /// Ends every operation in flight, and gives the file to the standard library, with the cursor where it is: before
    /// what a read has read whose future was not polled since.
    ///
    /// # Errors
    ///
    /// `EBADF`, without parts, if it is closed. If it has no cursor (a FIFO, a terminal) and bytes arrived for
    /// reads whose futures were dropped, they and the file are in the error's [parts](IntoStdError::into_parts).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the file is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use std::io::Read;
    /// let file = runtime::fs::File::open("/dev/zero").await?;
    /// let mut file = file.into_std().await?;
    /// file.read_exact(&mut [1; 8])?;
    /// # Ok(()) }) }
    /// ```
    pub async fn into_std(self) -> Result<std::fs::File, IntoStdError<std::fs::File, Vec<u8>>> {
        let (fd, kept) = self.fd.reclaim().await.map_err(IntoStdError::gone)?;
        kept.hand_over(fd.into())
    }
}

impl AsRawFd for File {
    /// The number. It may belong to another file once this one is closed.
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for File {
    /// Borrows the descriptor, which makes closing the file dearer: its number stays taken until the handle is
    /// dropped.
    ///
    /// # Panics
    ///
    /// If the file is closed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("fd", &self.fd)
            .finish_non_exhaustive()
    }
}

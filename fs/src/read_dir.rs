//! [`read_dir`]: what is in a directory.
//!
//! `getdents(2)` has no opcode. So a directory is read on the thread pool, a buffer full at a time, some thousand
//! entries for each trip there.

use std::collections::VecDeque;
use std::ffi::{CStr, OsStr, OsString};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use annulet_driver::Fd;
use blocking::{Task, unblock};
use rustix::fs::{AtFlags, OFlags, RawDir};
use rustix::io::Errno;

use crate::at::At;
use crate::metadata::{self, FileType, Metadata};

/// What a directory is read into: room for about a thousand names of usual length.
const BUFFER_BYTES: usize = 32 * 1024;

/// What is in a directory, in no order, without `.` and `..`.
///
/// The directory is opened through the ring (`IORING_OP_OPENAT`). No opcode for reading it: that runs on the thread
/// pool, in batches of about a thousand entries.
///
/// # Errors
///
/// What `open(2)` reports: `NotFound`, `NotADirectory`, `PermissionDenied`. `InvalidInput` for a path with a NUL byte.
///
/// # Cancel safety
///
/// Nothing is lost.
///
/// # Panics
///
/// If awaited outside a runtime.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("a"), "content")?;
/// std::fs::create_dir(dir.path().join("b"))?;
///
/// let mut entries = runtime::fs::read_dir(dir.path()).await?;
/// let mut names = Vec::new();
/// while let Some(entry) = entries.next_entry().await? {
///     let is_dir = entry.file_type().await?.is_dir();
///     names.push((entry.file_name().to_owned(), is_dir));
/// }
/// names.sort();
/// assert_eq!(names, [("a".into(), false), ("b".into(), true)]);
/// # Ok(()) }) }
/// ```
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref();
    let dir = At::CWD.open_dir(path, OFlags::empty()).await?;
    Ok(ReadDir::new(Arc::new(dir), path.into()))
}

/// The entries of a directory, one by one; from [`read_dir`].
///
/// Dropping it closes the directory in the background.
pub struct ReadDir {
    dir: Arc<Fd>,
    path: Arc<Path>,
    batch: VecDeque<Entry>,
    state: State,
}

enum State {
    /// The batch goes first, then there may be more.
    More,
    Reading(Task<Batch>),
    /// The batch goes first, then this is told once.
    Failed(io::Error),
    Ended,
}

/// One trip to the thread pool.
struct Batch {
    entries: VecDeque<Entry>,
    next: State,
}

/// What the kernel tells of an entry.
struct Entry {
    name: OsString,
    ino: u64,
    kind: rustix::fs::FileType,
}

impl ReadDir {
    pub(crate) fn new(dir: Arc<Fd>, path: Arc<Path>) -> ReadDir {
        ReadDir {
            dir,
            path,
            batch: VecDeque::new(),
            state: State::More,
        }
    }

    /// The next entry; `None` when that was all.
    ///
    /// Files that are created or removed meanwhile may be among them or not; all others are, once.
    ///
    /// No opcode: they are read (`getdents64(2)`) on the thread pool, many at once.
    ///
    /// # Errors
    ///
    /// What `getdents64(2)` reports. After an error there is nothing more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the next call gives the entry.
    pub async fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        poll_fn(|cx| self.poll_next_entry(cx)).await
    }

    /// As [`next_entry`](ReadDir::next_entry), for futures written by hand.
    ///
    /// # Errors
    ///
    /// As its.
    pub fn poll_next_entry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<DirEntry>>> {
        loop {
            if let Some(entry) = self.batch.pop_front() {
                return Poll::Ready(Ok(Some(DirEntry {
                    dir: self.dir.clone(),
                    path: self.path.clone(),
                    entry,
                })));
            }
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(Ok(None)),
                State::Failed(error) => return Poll::Ready(Err(error)),
                State::More => {
                    let dir = self.dir.clone();
                    self.state = State::Reading(unblock(move || Batch::read(&dir)));
                }
                State::Reading(mut task) => match Pin::new(&mut task).poll(cx) {
                    Poll::Pending => {
                        self.state = State::Reading(task);
                        return Poll::Pending;
                    }
                    Poll::Ready(batch) => {
                        self.batch = batch.entries;
                        self.state = batch.next;
                    }
                },
            }
        }
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadDir").field(&self.path).finish()
    }
}

impl Batch {
    /// The position in the directory is that of the open file: the next batch begins where this one ends.
    fn read(dir: &Fd) -> Batch {
        let mut entries = VecDeque::new();
        let read = dir.with(|dir| Batch::fill(dir, &mut entries));
        let next = match read {
            Ok(true) => State::More,
            Ok(false) => State::Ended,
            Err(error) => State::Failed(error),
        };
        Batch { entries, next }
    }

    /// Whether there may be more.
    fn fill(dir: BorrowedFd<'_>, entries: &mut VecDeque<Entry>) -> io::Result<bool> {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        buffer.resize_with(BUFFER_BYTES, MaybeUninit::uninit);
        let mut raw = RawDir::new(dir, &mut buffer);
        while let Some(entry) = raw.next() {
            match entry {
                Ok(entry) if is_itself_or_parent(entry.file_name()) => {}
                Ok(entry) => entries.push_back(Entry {
                    name: OsString::from_vec(entry.file_name().to_bytes().to_vec()),
                    ino: entry.ino(),
                    kind: entry.file_type(),
                }),
                // The directory was removed after it was opened: it is empty then.
                Err(Errno::NOENT) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            if raw.is_buffer_empty() && !entries.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn is_itself_or_parent(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// An entry of a directory; from [`ReadDir::next_entry`].
///
/// It keeps the directory open: what it is asked is answered by the directory that was read, wherever that has been
/// moved meanwhile.
pub struct DirEntry {
    dir: Arc<Fd>,
    path: Arc<Path>,
    entry: Entry,
}

impl DirEntry {
    /// The name, without a directory.
    pub fn file_name(&self) -> &OsStr {
        &self.entry.name
    }

    /// The path given to [`read_dir`] with the name at its end.
    pub fn path(&self) -> PathBuf {
        self.path.join(&self.entry.name)
    }

    /// The inode's number. Of a mount point, that of the directory below the mount.
    pub fn ino(&self) -> u64 {
        self.entry.ino
    }

    /// What kind of file it is; of a symbolic link, that it is one.
    ///
    /// Most file systems have told already, and nothing is asked. Otherwise as [`metadata`](DirEntry::metadata).
    ///
    /// # Errors
    ///
    /// As its.
    pub async fn file_type(&self) -> io::Result<FileType> {
        match self.known_type() {
            Some(kind) => Ok(kind),
            None => Ok(self.metadata().await?.file_type()),
        }
    }

    /// What kind of file it is, if the file system told with the name.
    pub(crate) fn known_type(&self) -> Option<FileType> {
        let mode = self.entry.kind.as_raw_mode();
        (self.entry.kind != rustix::fs::FileType::Unknown).then(|| FileType::from_mode(mode))
    }

    /// All that is known of the file; of a symbolic link, of the link itself.
    ///
    /// Goes through the ring: `IORING_OP_STATX`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// What `statx(2)` reports: `NotFound` if it has been removed or renamed.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        let name = Path::new(&self.entry.name);
        metadata::ask(Some(&self.dir), name, AtFlags::SYMLINK_NOFOLLOW).await
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DirEntry").field(&self.path()).finish()
    }
}

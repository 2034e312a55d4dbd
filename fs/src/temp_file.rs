//! [`TempFile`]: a file that is gone unless it is given a name.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annulet_driver::Fd;
use blocking::unblock;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::at::At;
use crate::file::File;

/// A file without a name, or with one that nobody needs to know: it is gone when it is dropped, unless
/// [`persist`](TempFile::persist) gave it a name.
///
/// It is made with `O_TMPFILE`: no path leads to it, and nothing is left of it however the program ends. Where the file
/// system refuses that (FAT, NFS, some FUSE ones), it has a random name, `.annulet-` and 16 digits, until it is dropped,
/// when it is removed in the background; a program that is killed leaves it behind.
///
/// It can be used as the [`File`] it is, open for reading and writing, and may be read and written by its owner alone.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// use runtime::fs::TempFile;
///
/// let file = TempFile::new_in(dir.path()).await?;
/// file.write_all("first draft").await.0?;
/// assert_eq!(std::fs::read_dir(dir.path())?.count(), 0);
///
/// file.persist(dir.path().join("final")).await?;
/// assert_eq!(std::fs::read(dir.path().join("final"))?, b"first draft");
/// # Ok(()) }) }
/// ```
pub struct TempFile {
    file: File,
    name: Option<Name>,
}

/// What a named one is removed by.
struct Name {
    dir: Arc<Fd>,
    name: String,
    /// Whether the name is still this file's.
    taken: bool,
}

/// Who may do what with a temporary file: its owner everything but running it.
pub(crate) const PRIVATE: u32 = 0o600;

impl TempFile {
    /// In the directory for temporary files: the environment variable `TMPDIR`, or `/tmp`.
    ///
    /// Goes through the ring: `IORING_OP_OPENAT` with `O_TMPFILE`. Where the file system refuses that, on the thread
    /// pool.
    ///
    /// # Errors
    ///
    /// What `open(2)` reports of the directory: `NotFound`, `NotADirectory`, `PermissionDenied`; `StorageFull`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is left.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub async fn new() -> io::Result<TempFile> {
        TempFile::new_in(std::env::temp_dir()).await
    }

    /// In a directory: the one where it is to be [persisted](TempFile::persist), as that needs the same file system.
    ///
    /// # Errors
    ///
    /// As [`new`](TempFile::new); `InvalidInput` for a path with a NUL byte.
    pub async fn new_in(dir: impl AsRef<Path>) -> io::Result<TempFile> {
        let dir = At::CWD.open_dir(dir.as_ref(), OFlags::empty()).await?;
        TempFile::in_dir(&Arc::new(dir), PRIVATE).await
    }

    pub(crate) async fn in_dir(dir: &Arc<Fd>, mode: u32) -> io::Result<TempFile> {
        let flags = OFlags::TMPFILE | OFlags::RDWR;
        match At::dir(dir).open(Path::new("."), flags, mode).await {
            Ok(fd) => Ok(TempFile {
                file: File::new(Fd::new(fd), None),
                name: None,
            }),
            Err(error) if is_refusal(&error) => TempFile::named_in(dir, mode).await,
            Err(error) => Err(error),
        }
    }

    /// Made on the thread pool: what is dropped while it runs is made all the same, and then dropped there. An opening
    /// on the ring that is dropped would leave the name behind.
    pub(crate) async fn named_in(dir: &Arc<Fd>, mode: u32) -> io::Result<TempFile> {
        let dir = dir.clone();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        unblock(move || {
            let mode = Mode::from_raw_mode(mode);
            let (fd, name) =
                dir.with(|at| with_new_name(|name| rustix::fs::openat(at, name, flags, mode)))?;
            let name = Some(Name {
                dir,
                name,
                taken: true,
            });
            let file = File::new(Fd::new(fd), None);
            Ok(TempFile { file, name })
        })
        .await
    }

    /// Gives the file a name, in place of the file that had it, in one step: who opens that finds the old file or this
    /// one.
    ///
    /// What was written is not yet on the disk: see [`sync_all`](File::sync_all), and
    /// [`write_atomic`](crate::write_atomic()) for all of it.
    ///
    /// No opcode takes a link and a rename together, so that nothing is left between them: runs on the thread pool.
    ///
    /// # Errors
    ///
    /// What `link(2)` and `rename(2)` report: `NotFound` for the directory, `IsADirectory` if the name is a directory's,
    /// `CrossesDevices` if it lies in another file system, `PermissionDenied`. The file is gone then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the file is gone, or all is done.
    pub async fn persist(self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref().to_owned();
        unblock(move || self.persist_now(CWD, &path, true)).await
    }

    /// As [`persist`](TempFile::persist), but does not replace a file.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the name is taken. Otherwise as [`persist`](TempFile::persist).
    pub async fn persist_new(self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref().to_owned();
        unblock(move || self.persist_now(CWD, &path, false)).await
    }

    /// Removes the file, which dropping does in the background.
    pub(crate) async fn remove(self) {
        if self.name.is_some() {
            unblock(move || self.remove_now()).await;
        }
    }

    /// As [`remove`](TempFile::remove), for the thread pool.
    pub(crate) fn remove_now(mut self) {
        if let Some(name) = self.name.take() {
            name.remove();
        }
    }

    /// For the thread pool.
    pub(crate) fn persist_now(
        mut self,
        at: BorrowedFd<'_>,
        path: &Path,
        replace: bool,
    ) -> io::Result<File> {
        match self.name.take() {
            Some(name) => name.give(at, path, replace)?,
            None if replace => self.replace(at, path)?,
            None => self.file.fd.with(|fd| Ok(link(fd, at, path)?))?,
        }
        Ok(self.file)
    }

    /// Only a rename replaces, and only what has a name can be renamed.
    fn replace(&self, at: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
        let beside = |name: &str| path.with_file_name(name);
        let ((), name) = self
            .file
            .fd
            .with(|fd| with_new_name(|name| link(fd, at, &beside(name))))?;
        let name = beside(&name);
        rustix::fs::renameat(at, &name, at, path).map_err(|error| {
            let _ = rustix::fs::unlinkat(at, &name, AtFlags::empty());
            error.into()
        })
    }
}

impl Deref for TempFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl fmt::Debug for TempFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TempFile")
            .field("file", &self.file)
            .field("name", &self.name.as_ref().map(|name| &name.name))
            .finish()
    }
}

impl Name {
    fn give(mut self, at: BorrowedFd<'_>, path: &Path, replace: bool) -> io::Result<()> {
        let flags = if replace {
            RenameFlags::empty()
        } else {
            RenameFlags::NOREPLACE
        };
        let (dir, name) = (&self.dir, &self.name);
        let given = dir.with(|dir| Ok(rustix::fs::renameat_with(dir, name, at, path, flags)?));
        match given {
            Ok(()) => self.taken = false,
            Err(_) => self.remove_now(),
        }
        given
    }

    fn remove(mut self) {
        self.remove_now();
    }

    fn remove_now(&mut self) {
        self.taken = false;
        unlink(&self.dir, &self.name);
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.taken {
            let (dir, name) = (self.dir.clone(), std::mem::take(&mut self.name));
            unblock(move || unlink(&dir, &name)).detach();
        }
    }
}

/// A name that cannot be removed stays: there is nobody to tell.
fn unlink(dir: &Fd, name: &str) {
    let _ = dir.with(|dir| Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?));
}

/// Gives a file that has no name one. Before Linux 6.10 the direct way takes a capability, else there is no such file.
fn link(fd: BorrowedFd<'_>, at: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<()> {
    match rustix::fs::linkat(fd, "", at, path, AtFlags::EMPTY_PATH) {
        Err(Errno::NOENT) => {
            let proc = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
            rustix::fs::linkat(CWD, proc, at, path, AtFlags::SYMLINK_FOLLOW)
        }
        other => other,
    }
}

/// Tries names until one is new.
fn with_new_name<R>(make: impl Fn(&str) -> rustix::io::Result<R>) -> io::Result<(R, String)> {
    loop {
        // Keyed at random for each thread, and differently each time.
        let random = RandomState::new().build_hasher().finish();
        let name = format!(".annulet-{random:016x}");
        match make(&name) {
            Err(Errno::EXIST) => {}
            made => return Ok((made?, name)),
        }
    }
}

/// What file systems without `O_TMPFILE` answer, and kernels that see `O_DIRECTORY` in it only.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::OPNOTSUPP | Errno::ISDIR)
    )
}

#[cfg(test)]
mod tests;

//! [`Dir`]: an open directory, and paths relative to it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annulet_driver::op::Fsync;
use annulet_driver::{Close, Fd, Op};
use rustix::fs::{AtFlags, OFlags, ResolveFlags};

use crate::at::At;
use crate::create_dir::DirBuilder;
use crate::file::File;
use crate::metadata::{self, Metadata};
use crate::open_options::OpenOptions;
use crate::read_dir::ReadDir;
use crate::remove_dir_all::remove_dir_all_at;

/// An open directory.
///
/// What is done by its methods is done in this very directory, even if it is renamed or moved, or if somebody puts
/// another one, or a symbolic link, in its path's place meanwhile. Paths are relative to it, unless they are absolute;
/// they may lead out of it by `..` and by symbolic links, but for [`open_beneath`](Dir::open_beneath). Each method does
/// what the function of its name in this module does, and goes the same way.
///
/// Dropping it closes the directory in the background.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// # let temp = tempfile::tempdir()?;
/// use runtime::fs::Dir;
///
/// let dir = Dir::open(temp.path()).await?;
/// dir.create_dir("inbox").await?;
/// let inbox = dir.open_dir("inbox").await?;
/// inbox.symlink("somewhere", "link").await?;
/// dir.create_dir("archive").await?;
/// inbox.rename("link", &dir.open_dir("archive").await?, "old-link").await?;
/// assert_eq!(dir.read_link("archive/old-link").await?.to_str(), Some("somewhere"));
/// # Ok(()) }) }
/// ```
#[derive(Debug)]
pub struct Dir {
    fd: Arc<Fd>,
}

impl Dir {
    /// Opens a directory.
    ///
    /// Goes through the ring: `IORING_OP_OPENAT`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// What `open(2)` reports: `NotFound`, `NotADirectory`, `PermissionDenied`. `InvalidInput` for a path with a NUL
    /// byte.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime. So do all that go through the ring.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Dir> {
        Dir::open_at(At::CWD, path.as_ref()).await
    }

    async fn open_at(at: At<'_>, path: &Path) -> io::Result<Dir> {
        let fd = at.open_dir(path, OFlags::empty()).await?;
        Ok(Dir { fd: Arc::new(fd) })
    }

    fn at(&self) -> At<'_> {
        At::dir(&self.fd)
    }

    /// Opens a directory relative to this one.
    ///
    /// # Errors
    ///
    /// As [`open`](Dir::open).
    pub async fn open_dir(&self, path: impl AsRef<Path>) -> io::Result<Dir> {
        Dir::open_at(self.at(), path.as_ref()).await
    }

    /// Opens a file relative to this directory.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, a file that was to be created may have been.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let temp = tempfile::tempdir()?;
    /// use runtime::fs::{Dir, OpenOptions};
    ///
    /// let dir = Dir::open(temp.path()).await?;
    /// let mut options = OpenOptions::new();
    /// options.write(true).create_new(true);
    /// let file = dir.open_file("notes", &options).await?;
    /// file.write_all_at("first", 0).await.0?;
    /// assert_eq!(dir.metadata("notes").await?.len(), 5);
    /// # Ok(()) }) }
    /// ```
    pub async fn open_file(
        &self,
        path: impl AsRef<Path>,
        options: &OpenOptions,
    ) -> io::Result<File> {
        options.open_at(Some(&self.fd), path.as_ref(), None).await
    }

    /// As [`open_file`](Dir::open_file), but only if the file lies beneath this directory: neither `..`, nor an
    /// absolute path, nor any symbolic link on the way leads out of it. For paths that come from elsewhere: an
    /// archive, a request.
    ///
    /// Goes through the ring: `IORING_OP_OPENAT2` with `RESOLVE_BENEATH`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// `CrossesDevices` if the path leads out, at whatever point of it. `WouldBlock` if directories are moved about so
    /// much that the kernel cannot tell: try again. Otherwise as [`open_file`](Dir::open_file).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let temp = tempfile::tempdir()?;
    /// use std::io::ErrorKind;
    /// use runtime::fs::{Dir, OpenOptions};
    ///
    /// let dir = Dir::open(temp.path()).await?;
    /// dir.symlink("/etc", "innocent").await?;
    /// let mut options = OpenOptions::new();
    /// options.read(true);
    /// for path in ["../../etc/passwd", "/etc/passwd", "innocent/passwd"] {
    ///     let error = dir.open_beneath(path, &options).await.unwrap_err();
    ///     assert_eq!(error.kind(), ErrorKind::CrossesDevices);
    /// }
    /// # Ok(()) }) }
    /// ```
    pub async fn open_beneath(
        &self,
        path: impl AsRef<Path>,
        options: &OpenOptions,
    ) -> io::Result<File> {
        let resolve = Some(ResolveFlags::BENEATH.bits());
        let path = path.as_ref();
        options.open_at(Some(&self.fd), path, resolve).await
    }

    /// Reads what is in this directory; see [`read_dir`](crate::read_dir()).
    ///
    /// Its entries' paths are their names.
    ///
    /// # Errors
    ///
    /// As its.
    pub async fn read_dir(&self) -> io::Result<ReadDir> {
        // Opened once more: with a position of its own.
        let again = self.at().open_dir(Path::new("."), OFlags::empty());
        Ok(ReadDir::new(Arc::new(again.await?), Path::new("").into()))
    }

    /// See [`metadata`](crate::metadata()).
    ///
    /// # Errors
    ///
    /// As its.
    pub async fn metadata(&self, path: impl AsRef<Path>) -> io::Result<Metadata> {
        metadata::ask(Some(&self.fd), path.as_ref(), AtFlags::empty()).await
    }

    /// See [`symlink_metadata`](crate::symlink_metadata).
    ///
    /// # Errors
    ///
    /// As its.
    pub async fn symlink_metadata(&self, path: impl AsRef<Path>) -> io::Result<Metadata> {
        metadata::ask(Some(&self.fd), path.as_ref(), AtFlags::SYMLINK_NOFOLLOW).await
    }

    /// See [`create_dir`](crate::create_dir()).
    ///
    /// # Errors
    ///
    /// As its.
    pub async fn create_dir(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.create_dir_with(path, &DirBuilder::new()).await
    }

    /// Creates a directory with options; see [`DirBuilder::create`].
    ///
    /// # Errors
    ///
    /// As its.
    pub async fn create_dir_with(
        &self,
        path: impl AsRef<Path>,
        builder: &DirBuilder,
    ) -> io::Result<()> {
        builder.create_at(self.at(), path.as_ref()).await
    }

    /// See [`remove_file`](crate::remove_file).
    ///
    /// # Errors
    ///
    /// As its.
    pub async fn remove_file(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.at().unlink(path.as_ref(), AtFlags::empty()).await
    }

    /// See [`remove_dir`](crate::remove_dir).
    ///
    /// # Errors
    ///
    /// As its.
    pub async fn remove_dir(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.at().unlink(path.as_ref(), AtFlags::REMOVEDIR).await
    }

    /// See [`remove_dir_all`](crate::remove_dir_all()).
    ///
    /// # Errors
    ///
    /// As its.
    pub async fn remove_dir_all(&self, path: impl AsRef<Path>) -> io::Result<()> {
        remove_dir_all_at(self.at(), path.as_ref()).await
    }

    /// Gives `from`, in this directory, the name `to` in the directory `to_dir`, which may be this one; see
    /// [`rename`](crate::rename()).
    ///
    /// # Errors
    ///
    /// As its.
    pub async fn rename(
        &self,
        from: impl AsRef<Path>,
        to_dir: &Dir,
        to: impl AsRef<Path>,
    ) -> io::Result<()> {
        self.at()
            .rename(from.as_ref(), to_dir.at(), to.as_ref())
            .await
    }

    /// Gives `original`, in this directory, the further name `link` in the directory `link_dir`, which may be this one;
    /// see [`hard_link`](crate::hard_link).
    ///
    /// # Errors
    ///
    /// As its.
    pub async fn hard_link(
        &self,
        original: impl AsRef<Path>,
        link_dir: &Dir,
        link: impl AsRef<Path>,
    ) -> io::Result<()> {
        self.at()
            .link(original.as_ref(), link_dir.at(), link.as_ref())
            .await
    }

    /// Creates a symbolic link in this directory; see [`symlink`](crate::symlink).
    ///
    /// # Errors
    ///
    /// As its.
    pub async fn symlink(
        &self,
        original: impl AsRef<Path>,
        link: impl AsRef<Path>,
    ) -> io::Result<()> {
        self.at().symlink(original.as_ref(), link.as_ref()).await
    }

    /// See [`read_link`](crate::read_link).
    ///
    /// # Errors
    ///
    /// As its.
    pub async fn read_link(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        self.at().read_link(path.as_ref()).await
    }

    /// Waits until the names in this directory, as they are now, are on the disk (`fsync(2)`): what was created,
    /// renamed or removed survives a crash.
    ///
    /// Goes through the ring: `IORING_OP_FSYNC`.
    ///
    /// # Errors
    ///
    /// What `fsync(2)` reports.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the names may be on the disk or not.
    pub fn sync_all(&self) -> Op<Fsync> {
        Op::on(&self.fd, Fsync::all())
    }

    /// Ends what is in flight in this directory, then closes it.
    ///
    /// # Errors
    ///
    /// What `close(2)` reports; the directory is closed all the same.
    ///
    /// # Cancel safety
    ///
    /// The close begins with the call. A dropped future leaves it to finish in the background.
    pub fn close(&self) -> Close {
        self.fd.close()
    }
}

impl From<OwnedFd> for Dir {
    /// Takes over a descriptor that is a directory's; of another's every method gives `NotADirectory`.
    fn from(fd: OwnedFd) -> Dir {
        Dir {
            fd: Arc::new(Fd::new(fd)),
        }
    }
}

impl AsRawFd for Dir {
    /// The number. It may belong to another file once the directory is closed.
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for Dir {
    /// Borrows the descriptor, which makes closing it dearer: its number stays taken until the handle is dropped.
    ///
    /// # Panics
    ///
    /// If the directory is closed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

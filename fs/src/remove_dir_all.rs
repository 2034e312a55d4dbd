//! [`remove_dir_all`]: a tree of files.
//!
//! Every directory is opened by its name in the one above, never through a symbolic link, and what is in it is removed
//! relative to that. So whoever swaps a directory for a link meanwhile does not lead us out of the tree.

use std::ffi::OsString;
use std::future::{Future, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use annulet_driver::op::UnlinkAt;
use annulet_driver::{Fd, Op};
use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;

use crate::at::{At, ring_has};
use crate::metadata;
use crate::read_dir::ReadDir;

/// How many files of a directory are being removed at a time.
const IN_FLIGHT: usize = 32;

/// Removes a directory and all that is in it.
///
/// Symbolic links are removed, not followed, `path` itself included: nothing outside of the tree is touched, even if
/// directories are exchanged for links meanwhile. What others remove at the same time is not missed. One descriptor is
/// open for each level.
///
/// Through the ring go the openings and removals (`IORING_OP_UNLINKAT`, Linux 5.11), up to 32 of a directory's at a
/// time; on the thread pool directories are read.
///
/// # Errors
///
/// The first there is, with some of the tree gone: `NotFound`; `NotADirectory`; `PermissionDenied` for a directory that
/// may not be read or written to; `DirectoryNotEmpty` if somebody puts files into it meanwhile.
///
/// # Cancel safety
///
/// If the future is dropped, some of the tree may be gone.
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
/// let tree = dir.path().join("tree");
/// runtime::fs::create_dir_all(tree.join("a/b")).await?;
/// runtime::fs::symlink("/", tree.join("a/link")).await?;
/// runtime::fs::remove_dir_all(&tree).await?;
/// assert!(!tree.exists());
/// # Ok(()) }) }
/// ```
pub async fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    remove_dir_all_at(At::CWD, path.as_ref()).await
}

pub(crate) async fn remove_dir_all_at(at: At<'_>, path: &Path) -> io::Result<()> {
    let root = match at.open_dir(path, OFlags::NOFOLLOW).await {
        Ok(root) => root,
        Err(error) if is_no_directory(&error) => {
            let status = metadata::ask(at.fd(), path, AtFlags::SYMLINK_NOFOLLOW).await?;
            if status.is_symlink() {
                return at.unlink(path, AtFlags::empty()).await;
            }
            return Err(error);
        }
        Err(error) => return Err(error),
    };
    let mut levels = vec![Level::new(root, OsString::new())];
    while let Some(level) = levels.last_mut() {
        if let Some(below) = level.clear().await? {
            levels.push(below);
            continue;
        }
        let name = levels.pop().map(|level| level.name);
        match (levels.last(), name) {
            (Some(above), Some(name)) => {
                let removed = At::dir(&above.dir).unlink(Path::new(&name), AtFlags::REMOVEDIR);
                unless_gone(removed.await)?;
            }
            _ => at.unlink(path, AtFlags::REMOVEDIR).await?,
        }
    }
    Ok(())
}

/// A directory on the way down.
struct Level {
    dir: Arc<Fd>,
    /// In the directory above.
    name: OsString,
    entries: ReadDir,
}

impl Level {
    fn new(dir: Fd, name: OsString) -> Level {
        let dir = Arc::new(dir);
        let entries = ReadDir::new(dir.clone(), Path::new("").into());
        Level { dir, name, entries }
    }

    /// Removes the entries up to the next directory, which is opened, or to the end.
    async fn clear(&mut self) -> io::Result<Option<Level>> {
        let mut removals = Removals::default();
        while let Some(entry) = self.entries.next_entry().await? {
            let at = At::dir(&self.dir);
            let name = PathBuf::from(entry.file_name());
            if entry.known_type().is_some_and(|kind| !kind.is_dir()) {
                removals.add(at, name).await?;
                continue;
            }
            match at.open_dir(&name, OFlags::NOFOLLOW).await {
                Ok(dir) => {
                    removals.ended(0).await?;
                    return Ok(Some(Level::new(dir, name.into())));
                }
                Err(error) if is_no_directory(&error) => removals.add(at, name).await?,
                Err(error) => unless_gone(Err(error))?,
            }
        }
        removals.ended(0).await?;
        Ok(None)
    }
}

/// Files of one directory that are being removed.
#[derive(Default)]
struct Removals(Vec<Op<UnlinkAt>>);

impl Removals {
    async fn add(&mut self, at: At<'_>, name: PathBuf) -> io::Result<()> {
        if !ring_has::<UnlinkAt>() {
            return unless_gone(at.unlink(&name, AtFlags::empty()).await);
        }
        self.0.push(at.op(UnlinkAt::new(&name, 0)?));
        self.ended(IN_FLIGHT - 1).await
    }

    /// Starts those that are not yet, and waits until there are at most `left` of them.
    async fn ended(&mut self, left: usize) -> io::Result<()> {
        poll_fn(|cx| {
            let mut at = 0;
            while let Some(op) = self.0.get_mut(at) {
                match Pin::new(op).poll(cx) {
                    Poll::Pending => at += 1,
                    Poll::Ready(removed) => {
                        drop(self.0.swap_remove(at));
                        unless_gone(removed)?;
                    }
                }
            }
            if self.0.len() > left {
                Poll::Pending
            } else {
                Poll::Ready(Ok(()))
            }
        })
        .await
    }
}

/// With `O_DIRECTORY` and `O_NOFOLLOW` a symbolic link gives either.
fn is_no_directory(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOTDIR | Errno::LOOP)
    )
}

/// Somebody else has removed it: as good.
fn unless_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

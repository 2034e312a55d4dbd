//! Links: [`hard_link`], [`symlink`], [`read_link`]; and where they lead, [`canonicalize`].

use std::io;
use std::path::{Path, PathBuf};

use blocking::unblock;

use crate::at::At;

/// Gives a file a further name.
///
/// A symbolic link is linked to itself, not followed. Goes through the ring: `IORING_OP_LINKAT`, Linux 5.15; before, on
/// the thread pool.
///
/// # Errors
///
/// What `link(2)` reports: `NotFound`; `AlreadyExists`; `CrossesDevices` between two file systems; `PermissionDenied`
/// for a directory; `TooManyLinks`. `InvalidInput` for a path with a NUL byte.
///
/// # Cancel safety
///
/// If the future is dropped, the link may be there or not.
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
/// let (file, link) = (dir.path().join("file"), dir.path().join("link"));
/// std::fs::write(&file, "content")?;
/// runtime::fs::hard_link(&file, &link).await?;
/// std::fs::remove_file(&file)?;
/// assert_eq!(std::fs::read(&link)?, b"content");
/// # Ok(()) }) }
/// ```
pub async fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    At::CWD
        .link(original.as_ref(), At::CWD, link.as_ref())
        .await
}

/// Creates a symbolic link at `link` that points at `original`, which need not be there.
///
/// A relative `original` is looked for where the link is. Goes through the ring: `IORING_OP_SYMLINKAT`, Linux 5.15;
/// before, on the thread pool.
///
/// # Errors
///
/// What `symlink(2)` reports: `AlreadyExists`; `NotFound` for the link's directory, and for an empty `original`.
/// `InvalidInput` for a path with a NUL byte.
///
/// # Cancel safety
///
/// If the future is dropped, the link may be there or not.
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
/// use std::path::Path;
///
/// let link = dir.path().join("current");
/// runtime::fs::symlink("release-7", &link).await?;
/// assert_eq!(runtime::fs::read_link(&link).await?, Path::new("release-7"));
/// # Ok(()) }) }
/// ```
pub async fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    At::CWD.symlink(original.as_ref(), link.as_ref()).await
}

/// What a symbolic link points at.
///
/// No opcode: runs on the thread pool.
///
/// # Errors
///
/// What `readlink(2)` reports: `NotFound`; `InvalidInput` for what is no symbolic link, and for a path with a NUL byte.
///
/// # Cancel safety
///
/// Nothing is lost.
///
/// # Examples
///
/// See [`symlink`].
pub async fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    At::CWD.read_link(path.as_ref()).await
}

/// The absolute path of a file, without symbolic links, `.` or `..` in it.
///
/// No opcode: runs on the thread pool, one call a component (`realpath(3)`).
///
/// # Errors
///
/// `NotFound` if any part is missing, `NotADirectory` if one that is followed by others is no directory. `InvalidInput`
/// for a path with a NUL byte.
///
/// # Cancel safety
///
/// Nothing is lost.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// let path = dir.path().join("sub/..");
/// runtime::fs::create_dir(dir.path().join("sub")).await?;
/// assert_eq!(runtime::fs::canonicalize(path).await?, dir.path().canonicalize()?);
/// # Ok(()) }) }
/// ```
pub async fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref().to_owned();
    unblock(move || path.canonicalize()).await
}

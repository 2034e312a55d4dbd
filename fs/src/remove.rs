//! [`remove_file`] and [`remove_dir`]; for whole trees see [`remove_dir_all`](crate::remove_dir_all).

use std::io;
use std::path::Path;

use rustix::fs::AtFlags;

use crate::at::At;

/// Removes a file: its name, and the file itself once that has no other name and nobody has it open.
///
/// A symbolic link is removed, not followed. Goes through the ring: `IORING_OP_UNLINKAT`, Linux 5.11; before, on the
/// thread pool. The disk's part is done by a worker of the kernel's.
///
/// # Errors
///
/// What `unlink(2)` reports: `NotFound`, `IsADirectory` for a directory, `PermissionDenied` where the directory may not
/// be written to, `ReadOnlyFilesystem`. `InvalidInput` for a path with a NUL byte.
///
/// # Cancel safety
///
/// If the future is dropped, the file may be removed or not. To limit how long it takes, put it into a timeout of the
/// runtime's.
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
/// let path = dir.path().join("file");
/// std::fs::write(&path, "content")?;
/// runtime::fs::remove_file(&path).await?;
///
/// let again = runtime::fs::remove_file(&path).await;
/// assert_eq!(again.unwrap_err().kind(), std::io::ErrorKind::NotFound);
/// # Ok(()) }) }
/// ```
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    At::CWD.unlink(path.as_ref(), AtFlags::empty()).await
}

/// Removes an empty directory; otherwise as [`remove_file`].
///
/// # Errors
///
/// What `rmdir(2)` reports: `NotFound`, `DirectoryNotEmpty`, `NotADirectory` for all else, `ResourceBusy` for the mount
/// point of a file system.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// let path = dir.path().join("a/b");
/// runtime::fs::create_dir_all(&path).await?;
/// let full = runtime::fs::remove_dir(dir.path().join("a")).await;
/// assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::DirectoryNotEmpty);
/// runtime::fs::remove_dir(path).await?;
/// # Ok(()) }) }
/// ```
pub async fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    At::CWD.unlink(path.as_ref(), AtFlags::REMOVEDIR).await
}

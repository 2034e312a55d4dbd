//! [`rename`]: a file's other name.

use std::io;
use std::path::Path;

use crate::at::At;

/// Gives a file or directory another name. A file that has that name already is replaced, in one step: who opens it
/// finds the old one or the new one.
///
/// Goes through the ring: `IORING_OP_RENAMEAT`, Linux 5.11; before, on the thread pool. For the flags of
/// `renameat2(2)` (exchange two files, replace nothing) there is [`op::RenameAt`](annulet_driver::op::RenameAt).
///
/// # Errors
///
/// What `rename(2)` reports: `NotFound`; `CrossesDevices` between two file systems; `IsADirectory`, `NotADirectory` and
/// `DirectoryNotEmpty` if the new name is taken by what cannot be replaced by this; `InvalidInput` for a directory that
/// would go into itself, and for a path with a NUL byte.
///
/// # Cancel safety
///
/// If the future is dropped, the file may have been renamed or not.
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
/// let (old, new) = (dir.path().join("old"), dir.path().join("new"));
/// std::fs::write(&old, "content")?;
/// runtime::fs::rename(&old, &new).await?;
/// assert_eq!(std::fs::read(&new)?, b"content");
/// assert!(!old.exists());
/// # Ok(()) }) }
/// ```
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    At::CWD.rename(from.as_ref(), At::CWD, to.as_ref()).await
}

//! [`set_permissions`]: who may do what with a file.

use std::fs::Permissions;
use std::io;
use std::path::Path;

use blocking::unblock;

/// Sets the permissions of the file at a path; of what a symbolic link there leads to.
///
/// No opcode: runs on the thread pool (`chmod(2)`).
///
/// # Errors
///
/// `NotFound`; `PermissionDenied` for who neither owns the file nor is privileged; `ReadOnlyFilesystem`. `InvalidInput`
/// for a path with a NUL byte.
///
/// # Cancel safety
///
/// If the future is dropped, they may be set or not.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// use runtime::fs::Permissions;
/// use std::os::unix::fs::PermissionsExt;
///
/// let path = dir.path().join("script");
/// std::fs::write(&path, "#!/bin/sh\n")?;
/// runtime::fs::set_permissions(&path, Permissions::from_mode(0o755)).await?;
/// assert_eq!(runtime::fs::metadata(&path).await?.mode() & 0o777, 0o755);
/// # Ok(()) }) }
/// ```
pub async fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    unblock(move || std::fs::set_permissions(path, permissions)).await
}

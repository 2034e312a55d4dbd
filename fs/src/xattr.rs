//! Extended attributes of files (`xattr(7)`): [`xattr`], [`set_xattr`], [`xattrs`], [`remove_xattr`], and the methods of
//! [`File`] by these names.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use annulet_driver::op::{FgetXattr, FsetXattr, GetXattr, SetXattr};
use annulet_driver::{BufResult, IoBuf, Op};
use blocking::unblock;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::at::ring_has;
use crate::file::File;
use crate::pool;

/// Room for a value of usual length.
const USUAL_BYTES: usize = 256;
/// No value, and no list of names, is longer.
const MOST_BYTES: usize = 64 << 10;

/// The value of an extended attribute of the file at a path, a symbolic link there being followed; `None` if it has no
/// such attribute.
///
/// Goes through the ring: `IORING_OP_GETXATTR`, Linux 5.19; before, on the thread pool.
///
/// # Errors
///
/// What `getxattr(2)` reports: `NotFound`; `Unsupported` where the file system or the name's prefix (`user.`,
/// `security.`, ...) has none; `PermissionDenied`. `InvalidInput` for a path or a name with a NUL byte.
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
/// # let file = tempfile::NamedTempFile::new()?;
/// # let path = file.path();
/// use runtime::fs::{remove_xattr, set_xattr, xattr, xattrs};
///
/// set_xattr(path, "user.mime_type", "text/plain").await?;
/// assert_eq!(xattr(path, "user.mime_type").await?.as_deref(), Some(&b"text/plain"[..]));
/// assert!(xattrs(path).await?.contains(&"user.mime_type".into()));
///
/// remove_xattr(path, "user.mime_type").await?;
/// assert_eq!(xattr(path, "user.mime_type").await?, None);
/// # Ok(()) }) }
/// ```
pub async fn xattr(path: impl AsRef<Path>, name: impl AsRef<OsStr>) -> io::Result<Option<Vec<u8>>> {
    let (path, name) = (path.as_ref(), name.as_ref());
    // What is wrong with the path or the name is told in the same words, whichever way it goes.
    let first = GetXattr::new(path, name, Vec::with_capacity(USUAL_BYTES))?;
    if !ring_has::<GetXattr<Vec<u8>>>() {
        let (path, name) = (path.to_owned(), name.to_owned());
        return unblock(move || read(|value| rustix::fs::getxattr(&path, &name, value))).await;
    }
    match value_of(Op::new(first).await) {
        Err(error) if is_too_long(&error) => {
            let more = GetXattr::new(path, name, Vec::with_capacity(MOST_BYTES))?;
            value_of(Op::new(more).await)
        }
        result => result,
    }
}

/// Sets an extended attribute of the file at a path, a symbolic link there being followed. One that is there already is
/// overwritten.
///
/// Goes through the ring: `IORING_OP_SETXATTR`, Linux 5.19; before, on the thread pool.
///
/// # Errors
///
/// As [`xattr`], and `StorageFull`, `ReadOnlyFilesystem`; `ArgumentListTooLong` for a value of more than 64 KiB.
///
/// # Cancel safety
///
/// If the future is dropped, it may be set or not.
///
/// # Panics
///
/// If awaited outside a runtime.
pub async fn set_xattr(
    path: impl AsRef<Path>,
    name: impl AsRef<OsStr>,
    value: impl IoBuf + AsRef<[u8]>,
) -> io::Result<()> {
    let (path, name) = (path.as_ref(), name.as_ref());
    if ring_has::<SetXattr<Vec<u8>>>() {
        return Op::new(SetXattr::new(path, name, value, 0)?).await.0;
    }
    let (path, name, value) = (path.to_owned(), name.to_owned(), value.as_ref().to_owned());
    unblock(move || {
        Ok(rustix::fs::setxattr(
            path,
            name,
            &value,
            XattrFlags::empty(),
        )?)
    })
    .await
}

/// The names of the extended attributes of the file at a path, a symbolic link there being followed, as far as the
/// process may see them.
///
/// No opcode: runs on the thread pool.
///
/// # Errors
///
/// As [`xattr`].
///
/// # Cancel safety
///
/// Nothing is lost.
pub async fn xattrs(path: impl AsRef<Path>) -> io::Result<Vec<OsString>> {
    let path = path.as_ref().to_owned();
    unblock(move || list(|names| rustix::fs::listxattr(&path, names))).await
}

/// Removes an extended attribute of the file at a path, a symbolic link there being followed.
///
/// No opcode: runs on the thread pool.
///
/// # Errors
///
/// As [`xattr`]; `ENODATA`, which has no kind of its own, if it has no such attribute.
///
/// # Cancel safety
///
/// If the future is dropped, it may be removed or not.
pub async fn remove_xattr(path: impl AsRef<Path>, name: impl AsRef<OsStr>) -> io::Result<()> {
    let (path, name) = (path.as_ref().to_owned(), name.as_ref().to_owned());
    unblock(move || Ok(rustix::fs::removexattr(path, name)?)).await
}

impl File {
    /// The value of an extended attribute; `None` if the file has no such one. As [`xattr`](crate::xattr), by
    /// `IORING_OP_FGETXATTR`.
    ///
    /// # Errors
    ///
    /// As its.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let dir = tempfile::tempdir()?;
    /// let file = runtime::fs::File::create(dir.path().join("file")).await?;
    /// file.set_xattr("user.origin", "here").await?;
    /// assert_eq!(file.xattr("user.origin").await?.as_deref(), Some(&b"here"[..]));
    /// file.remove_xattr("user.origin").await?;
    /// assert!(!file.xattrs().await?.contains(&"user.origin".into()));
    /// # Ok(()) }) }
    /// ```
    pub async fn xattr(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Vec<u8>>> {
        let name = name.as_ref();
        let first = FgetXattr::new(name, Vec::with_capacity(USUAL_BYTES))?;
        if !ring_has::<FgetXattr<Vec<u8>>>() {
            let name = name.to_owned();
            let read = move |file| read(|value| rustix::fs::fgetxattr(&file, &name, value));
            return pool::on_file(&self.fd, read).await;
        }
        match value_of(Op::on(&self.fd, first).await) {
            Err(error) if is_too_long(&error) => {
                let more = FgetXattr::new(name, Vec::with_capacity(MOST_BYTES))?;
                value_of(Op::on(&self.fd, more).await)
            }
            result => result,
        }
    }

    /// Sets an extended attribute. As [`set_xattr`](crate::set_xattr), by `IORING_OP_FSETXATTR`.
    ///
    /// # Errors
    ///
    /// As its.
    pub async fn set_xattr(
        &self,
        name: impl AsRef<OsStr>,
        value: impl IoBuf + AsRef<[u8]>,
    ) -> io::Result<()> {
        let name = name.as_ref();
        if ring_has::<FsetXattr<Vec<u8>>>() {
            return Op::on(&self.fd, FsetXattr::new(name, value, 0)?).await.0;
        }
        let (name, value) = (name.to_owned(), value.as_ref().to_owned());
        let flags = XattrFlags::empty();
        let set = move |file| Ok(rustix::fs::fsetxattr(&file, name, &value, flags)?);
        pool::on_file(&self.fd, set).await
    }

    /// The names of the extended attributes. As [`xattrs`](crate::xattrs).
    ///
    /// # Errors
    ///
    /// As its.
    pub async fn xattrs(&self) -> io::Result<Vec<OsString>> {
        let list = |file| list(|names| rustix::fs::flistxattr(&file, names));
        pool::on_file(&self.fd, list).await
    }

    /// Removes an extended attribute. As [`remove_xattr`](crate::remove_xattr).
    ///
    /// # Errors
    ///
    /// As its.
    pub async fn remove_xattr(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = name.as_ref().to_owned();
        let remove = move |file| Ok(rustix::fs::fremovexattr(&file, name)?);
        pool::on_file(&self.fd, remove).await
    }
}

/// A missing attribute is no error.
fn value_of((result, value): BufResult<usize, Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
    match result {
        Ok(_) => Ok(Some(value)),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NODATA) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_too_long(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::RANGE)
}

/// Reads a value by a system call, which is told of room for the longest.
fn read(call: impl FnOnce(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; MOST_BYTES];
    let result = call(&mut value).map_err(io::Error::from);
    value.truncate(*result.as_ref().unwrap_or(&0));
    value_of((result, value))
}

/// Names, each with a NUL byte behind it.
fn list(call: impl FnOnce(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Vec<OsString>> {
    let mut names = vec![0; MOST_BYTES];
    let len = call(&mut names)?;
    let names = names[..len].split(|byte| *byte == 0);
    let names = names.filter(|name| !name.is_empty());
    Ok(names
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect())
}

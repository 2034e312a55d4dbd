//! [`copy`]: a file's content and permissions into another.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use blocking::unblock;
use rustix::fs::OFlags;

/// After so many bytes it is asked whether anybody still waits for the copy.
const STRIDE_BYTES: u64 = 16 << 20;

/// Copies the content and the permissions of a file to another, and tells how many bytes that were. A file that is there
/// already is overwritten, one that is not is created.
///
/// No opcode: runs on the thread pool, where the kernel copies by itself (`copy_file_range(2)`): on file systems that
/// can (Btrfs, XFS, bcachefs, NFS) the copy shares its blocks with the original, or is made on the server. Times,
/// ownership and extended attributes are not copied.
///
/// # Errors
///
/// What opening, reading and writing report: `NotFound`, `PermissionDenied`, `IsADirectory` for a destination that is a
/// directory, `StorageFull`. `InvalidInput` if the source is no regular file, if both are the same file, or for a path
/// with a NUL byte. Then a part may have been copied.
///
/// # Cancel safety
///
/// If the future is dropped, the copying ends soon (within 16 MiB). The destination is then empty, partly written or
/// whole. For all or nothing, copy to a name beside it and [`rename`](crate::rename()).
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// let (from, to) = (dir.path().join("from"), dir.path().join("to"));
/// std::fs::write(&from, "content")?;
/// assert_eq!(runtime::fs::copy(&from, &to).await?, 7);
/// assert_eq!(std::fs::read(&to)?, b"content");
/// # Ok(()) }) }
/// ```
pub async fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let (from, to) = (from.as_ref().to_owned(), to.as_ref().to_owned());
    let unwanted = Unwanted::default();
    let flag = unwanted.0.clone();
    unblock(move || copy_now(&from, &to, &flag)).await
}

/// Says, when it is dropped, that nobody waits any more.
#[derive(Default)]
struct Unwanted(Arc<AtomicBool>);

impl Drop for Unwanted {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn copy_now(from: &Path, to: &Path, unwanted: &AtomicBool) -> io::Result<u64> {
    // Of a FIFO it would otherwise wait for the writing end, only to be refused below.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let from = File::options()
        .read(true)
        .custom_flags(nonblocking)
        .open(from)?;
    let original = from.metadata()?;
    if !original.is_file() {
        return Err(refused("the file to copy is no regular file"));
    }
    // Not truncated before it is known to be another file.
    let to = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(original.mode())
        .open(to)?;
    let target = to.metadata()?;
    if target.is_file() {
        if (target.dev(), target.ino()) == (original.dev(), original.ino()) {
            return Err(refused("the file would be copied to itself"));
        }
        if target.len() > 0 {
            to.set_len(0)?;
        }
        if target.mode() != original.mode() {
            to.set_permissions(original.permissions())?;
        }
    }
    let mut copied = 0;
    while !unwanted.load(Relaxed) {
        // std chooses among `copy_file_range`, `sendfile`, and reading and writing, by what the files can.
        let n = io::copy(&mut (&from).take(STRIDE_BYTES), &mut &to)?;
        copied += n;
        if n < STRIDE_BYTES {
            break;
        }
    }
    Ok(copied)
}

fn refused(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

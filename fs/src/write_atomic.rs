//! [`write_atomic`]: a file's new content, all or nothing.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use annulet_driver::op::Fsync;
use annulet_driver::{Fd, IoBuf, IoBufExt, Op, chain, is_cancelled};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};

use crate::at::At;
use crate::metadata::{self, Metadata};
use crate::temp_file::{PRIVATE, TempFile};

/// What a new file is created with; the umask is taken off.
const MODE: u32 = 0o666;

/// Gives a file new content, all or nothing: at every moment, a crash of the machine included, the path leads to the
/// file with its old content or to one with the new.
///
/// A temporary file is written in the same directory, brought to the disk, put in the path's place, and then the
/// directory is brought to the disk.
///
/// * Of a file that is there the permissions stay. So do owner and group, as far as the process may set them; if not,
///   the new file is its own, without set-user-ID and set-group-ID bits, and the group, if it is another one, may do
///   no more than everybody. Access control lists and other extended attributes do not stay, nor do further names: a
///   hard link still leads to the old content.
/// * A file that is not there gets what the umask leaves of `0o666`.
/// * A symbolic link at the path is replaced, not followed.
/// * A descriptor that was open before still has the old content.
///
/// Through the ring go the openings and questions, the write and its sync as one chain (`IORING_OP_WRITE`,
/// `IORING_OP_FSYNC`), and the directory's sync; setting the mode and putting the file in its place run on the thread
/// pool. The temporary file has no name until then, on file systems that can do that; see [`TempFile`].
///
/// # Errors
///
/// `NotFound` for the directory; `IsADirectory`; `PermissionDenied` for a directory that may not be written to;
/// `StorageFull`, `QuotaExceeded`; `InvalidInput` for a path with a NUL byte or without a file name. Then the old
/// content is in place, and no temporary file is left. One exception: if the directory's sync is what fails, the new
/// content is in place, and a crash may still bring the old one back.
///
/// # Cancel safety
///
/// If the future is dropped, as a timeout does, the old content is in place or the new, and no temporary file is left
/// (where it has a name, that is removed in the background).
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
/// let path = dir.path().join("config");
/// std::fs::write(&path, "old")?;
/// runtime::fs::write_atomic(&path, "new").await?;
/// assert_eq!(std::fs::read(&path)?, b"new");
/// # Ok(()) }) }
/// ```
pub async fn write_atomic(path: impl AsRef<Path>, contents: impl IoBuf) -> io::Result<()> {
    let path = path.as_ref();
    let name = path
        .file_name()
        .map(Path::new)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name"))?;
    // A trailing slash says that it is a directory; the name alone would not.
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.ends_with(b"/") {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    let dir = Arc::new(At::CWD.open_dir(above, OFlags::empty()).await?);
    let old = match metadata::ask(Some(&dir), name, AtFlags::SYMLINK_NOFOLLOW).await {
        Ok(old) => Some(old).filter(Metadata::is_file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mode = if old.is_some() { PRIVATE } else { MODE };
    let temp = TempFile::in_dir(&dir, mode).await?;
    replace(&dir, name, temp, contents, old).await
}

pub(crate) async fn replace(
    dir: &Arc<Fd>,
    name: &Path,
    temp: TempFile,
    contents: impl IoBuf,
    old: Option<Metadata>,
) -> io::Result<()> {
    if let Err(error) = write_and_sync(&temp, contents).await {
        temp.remove().await;
        return Err(error);
    }
    let name = name.to_owned();
    let commit = move |at: BorrowedFd<'_>| {
        let resembles = match old {
            Some(old) => temp.fd.with(|fd| resemble(fd, &old)),
            None => Ok(()),
        };
        match resembles {
            Ok(()) => temp.persist_now(at, &name, true).map(drop),
            Err(error) => {
                temp.remove_now();
                Err(error)
            }
        }
    };
    At::dir(dir).on_pool(commit).await?;
    Op::on(dir, Fsync::all()).await
}

async fn write_and_sync(temp: &TempFile, contents: impl IoBuf) -> io::Result<()> {
    let len = contents.bytes_init();
    if len == 0 {
        return temp.sync_all().await;
    }
    let (written, synced) = chain((temp.write_at(contents, 0), temp.sync_all())).await;
    let (written, contents) = (written.0?, written.1);
    match synced {
        Ok(()) if written == len => Ok(()),
        Err(error) if written == len && !is_cancelled(&error) => Err(error),
        // A short write has broken the chain.
        _ => {
            let rest = temp.write_all_at(contents.slice(written..), written as u64);
            rest.await.0?;
            temp.sync_all().await
        }
    }
}

/// Makes the new file its predecessor's owner's, as far as that goes, with the same permissions.
fn resemble(file: BorrowedFd<'_>, old: &Metadata) -> io::Result<()> {
    let new = rustix::fs::fstat(file)?;
    let mut mode = old.mode() & 0o7777;
    if (new.st_uid, new.st_gid) != (old.uid(), old.gid()) {
        let (uid, gid) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
        if rustix::fs::fchown(file, Some(uid), Some(gid)).is_err() {
            let group_kept = rustix::fs::fchown(file, None, Some(gid)).is_ok();
            mode = of_another(mode, group_kept);
        }
    }
    // Last: a change of owner takes set-user-ID bits away.
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?)
}

/// The mode of a file whose owner, and perhaps group, is not its predecessor's. The new group is not to gain by it.
fn of_another(mode: u32, group_kept: bool) -> u32 {
    let mode = mode & 0o777;
    if group_kept {
        mode
    } else {
        mode & !0o070 | (mode & 0o070 & (mode << 3))
    }
}

#[cfg(test)]
mod tests {
    use super::of_another;

    #[test]
    fn a_file_of_another_owner_gains_nothing() {
        assert_eq!(of_another(0o4755, true), 0o755);
        assert_eq!(of_another(0o2770, false), 0o700);
        assert_eq!(of_another(0o664, false), 0o644);
        assert_eq!(of_another(0o604, false), 0o604);
    }
}

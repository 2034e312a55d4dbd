//! What is known about a file (`statx(2)`): [`Metadata`], [`FileType`], and the functions that ask by path.

use std::fmt;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use annulet_driver::buf::Alignment;
use annulet_driver::op::Statx;
use annulet_driver::{Fd, Op};
use rustix::fs::{AtFlags, Statx as Status, StatxAttributes, StatxFlags, StatxTimestamp};

/// What is known about the file at `path`; about what a symbolic link there leads to.
///
/// Goes through the ring: `IORING_OP_STATX`, Linux 5.6. For a limit of time use a timeout of the future's.
///
/// # Errors
///
/// What `statx(2)` reports: `NotFound`, `PermissionDenied`. `InvalidInput` if the path has a NUL byte in it.
/// `Unsupported` where the ring has no such operation.
///
/// # Cancel safety
///
/// Dropping the future loses nothing.
///
/// # Panics
///
/// If awaited outside a runtime.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// let metadata = runtime::fs::metadata("/dev/null").await?;
/// assert!(metadata.file_type().is_char_device());
/// assert_eq!(metadata.len(), 0);
/// # Ok(()) }) }
/// ```
pub async fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    ask(None, path.as_ref(), AtFlags::empty()).await
}

/// As [`metadata`], but about a symbolic link itself.
///
/// # Errors
///
/// As [`metadata`].
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// let metadata = runtime::fs::symlink_metadata("/proc/self").await?;
/// assert!(metadata.is_symlink());
/// # Ok(()) }) }
/// ```
pub async fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    ask(None, path.as_ref(), AtFlags::SYMLINK_NOFOLLOW).await
}

/// Whether there is something at `path`; `false` for a symbolic link that leads nowhere.
///
/// Goes the way of [`metadata`].
///
/// # Errors
///
/// As [`metadata`], but for `NotFound`: whether there is something cannot be told.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// assert!(runtime::fs::exists("/dev/null").await?);
/// assert!(!runtime::fs::exists("/dev/null-and-void").await?);
/// # Ok(()) }) }
/// ```
pub async fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    match metadata(path).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Metadata of what is at `path`, relative to a directory if one is given.
pub(crate) async fn ask(at: Option<&Fd>, path: &Path, flags: AtFlags) -> io::Result<Metadata> {
    let flags = flags.bits().cast_signed();
    let statx = Statx::path(path, flags)?.also(FURTHER.bits());
    let status = match at {
        Some(directory) => Op::on(directory, statx).await,
        None => Op::new(statx).await,
    };
    status.map(|status| Metadata { status })
}

/// Metadata of an open file.
pub(crate) async fn ask_open(fd: &Fd) -> io::Result<Metadata> {
    let statx = Statx::open_file().also(FURTHER.bits());
    let status = Op::on(fd, statx).await;
    status.map(|status| Metadata { status })
}

/// What is asked for besides the basic things.
const FURTHER: StatxFlags = StatxFlags::MNT_ID.union(StatxFlags::DIOALIGN);

/// What is known about a file, with the names of `std::fs::Metadata` and `std::os::unix::fs::MetadataExt`.
#[derive(Clone)]
pub struct Metadata {
    status: Status,
}

impl Metadata {
    /// Whether it is a file, a directory, or what else.
    pub fn file_type(&self) -> FileType {
        FileType::from_mode(self.mode())
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type().is_dir()
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type().is_file()
    }

    /// Whether it is a symbolic link, which only [`symlink_metadata`] tells.
    pub fn is_symlink(&self) -> bool {
        self.file_type().is_symlink()
    }

    /// The length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "as in std")]
    pub fn len(&self) -> u64 {
        self.status.stx_size
    }

    /// Who may do what.
    pub fn permissions(&self) -> Permissions {
        Permissions::from_mode(self.mode())
    }

    /// When the content was changed last.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the file system gave a time that the clock cannot have.
    pub fn modified(&self) -> io::Result<SystemTime> {
        system_time(&self.status.stx_mtime)
    }

    /// When the content was read last, as far as the file system notes that.
    ///
    /// # Errors
    ///
    /// As [`modified`](Metadata::modified).
    pub fn accessed(&self) -> io::Result<SystemTime> {
        system_time(&self.status.stx_atime)
    }

    /// When the file was created.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the file system does not note it; otherwise as [`modified`](Metadata::modified).
    pub fn created(&self) -> io::Result<SystemTime> {
        if !self.has(StatxFlags::BTIME) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this file system does not note when files were created",
            ));
        }
        system_time(&self.status.stx_btime)
    }

    /// The number of the device that the file is on.
    pub fn dev(&self) -> u64 {
        rustix::fs::makedev(self.status.stx_dev_major, self.status.stx_dev_minor)
    }

    /// The inode's number.
    pub fn ino(&self) -> u64 {
        self.status.stx_ino
    }

    /// Type and permissions, as `st_mode` has them.
    pub fn mode(&self) -> u32 {
        self.status.stx_mode.into()
    }

    /// How many names (hard links) the file has.
    pub fn nlink(&self) -> u64 {
        self.status.stx_nlink.into()
    }

    /// The owner's user number.
    pub fn uid(&self) -> u32 {
        self.status.stx_uid
    }

    /// The owner's group number.
    pub fn gid(&self) -> u32 {
        self.status.stx_gid
    }

    /// Of a device's file: the number of the device.
    pub fn rdev(&self) -> u64 {
        rustix::fs::makedev(self.status.stx_rdev_major, self.status.stx_rdev_minor)
    }

    /// The length in bytes, as [`len`](Metadata::len).
    pub fn size(&self) -> u64 {
        self.status.stx_size
    }

    /// Seconds of the last reading since 1970.
    pub fn atime(&self) -> i64 {
        self.status.stx_atime.tv_sec
    }

    /// Nanoseconds beyond [`atime`](Metadata::atime).
    pub fn atime_nsec(&self) -> i64 {
        self.status.stx_atime.tv_nsec.into()
    }

    /// Seconds of the last change of the content since 1970.
    pub fn mtime(&self) -> i64 {
        self.status.stx_mtime.tv_sec
    }

    /// Nanoseconds beyond [`mtime`](Metadata::mtime).
    pub fn mtime_nsec(&self) -> i64 {
        self.status.stx_mtime.tv_nsec.into()
    }

    /// Seconds of the last change of content or metadata since 1970.
    pub fn ctime(&self) -> i64 {
        self.status.stx_ctime.tv_sec
    }

    /// Nanoseconds beyond [`ctime`](Metadata::ctime).
    pub fn ctime_nsec(&self) -> i64 {
        self.status.stx_ctime.tv_nsec.into()
    }

    /// How many bytes at a time are read and written well.
    pub fn blksize(&self) -> u64 {
        self.status.stx_blksize.into()
    }

    /// How much room the content takes, in blocks of 512 bytes.
    pub fn blocks(&self) -> u64 {
        self.status.stx_blocks
    }

    /// The number of the mount that the file is reached through (`STATX_MNT_ID`); `None` before Linux 5.8.
    pub fn mount_id(&self) -> Option<u64> {
        self.has(StatxFlags::MNT_ID)
            .then_some(self.status.stx_mnt_id)
    }

    /// What `O_DIRECT` asks of buffers and offsets (`STATX_DIOALIGN`).
    ///
    /// `None` if the file cannot be read and written so, or if the kernel (before Linux 6.1) or the file system does
    /// not tell.
    pub fn direct_alignment(&self) -> Option<Alignment> {
        if !self.has(StatxFlags::DIOALIGN) {
            return None;
        }
        let (memory, offset) = (
            self.status.stx_dio_mem_align,
            self.status.stx_dio_offset_align,
        );
        Alignment::new(memory as usize, offset as usize)
    }

    /// Whether nobody may change the file (`chattr +i`); `false` also where that is not known.
    pub fn is_immutable(&self) -> bool {
        let attributes = self.status.stx_attributes;
        attributes.contains(StatxAttributes::IMMUTABLE)
    }

    fn has(&self, what: StatxFlags) -> bool {
        self.status.stx_mask & what.bits() != 0
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Metadata");
        debug.field("file_type", &self.file_type());
        debug.field("permissions", &self.permissions());
        debug.field("len", &self.len());
        if let Ok(modified) = self.modified() {
            debug.field("modified", &modified);
        }
        debug.finish_non_exhaustive()
    }
}

fn system_time(time: &StatxTimestamp) -> io::Result<SystemTime> {
    let (secs, nanos) = (time.tv_sec, time.tv_nsec);
    let whole = Duration::from_secs(secs.unsigned_abs());
    let at = if secs < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    // The nanoseconds count forwards, also before 1970.
    at.and_then(|at| at.checked_add(Duration::from_nanos(nanos.into())))
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the file system gave a time beyond the clock's",
            )
        })
}

/// What a path leads to: the type of a file, with the names of `std::fs::FileType` and its extension for Unix.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileType(rustix::fs::FileType);

/// As the number it is in `st_mode`.
impl std::hash::Hash for FileType {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.as_raw_mode().hash(state);
    }
}

impl FileType {
    pub(crate) fn from_mode(mode: u32) -> FileType {
        FileType(rustix::fs::FileType::from_raw_mode(mode))
    }

    /// A directory.
    pub fn is_dir(&self) -> bool {
        self.0.is_dir()
    }

    /// A regular file.
    pub fn is_file(&self) -> bool {
        self.0.is_file()
    }

    /// A symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.0.is_symlink()
    }

    /// A device of blocks, such as a disk.
    pub fn is_block_device(&self) -> bool {
        self.0.is_block_device()
    }

    /// A device of characters, such as a terminal.
    pub fn is_char_device(&self) -> bool {
        self.0.is_char_device()
    }

    /// A FIFO or a pipe.
    pub fn is_fifo(&self) -> bool {
        self.0.is_fifo()
    }

    /// A socket.
    pub fn is_socket(&self) -> bool {
        self.0.is_socket()
    }
}

impl fmt::Debug for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<rustix::fs::FileType> for FileType {
    fn from(file_type: rustix::fs::FileType) -> FileType {
        FileType(file_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tv_sec: i64, tv_nsec: u32) -> Metadata {
        // Any file's will do; the time is then set.
        let mut status = rustix::fs::statx(
            rustix::fs::CWD,
            "/",
            AtFlags::empty(),
            StatxFlags::BASIC_STATS,
        )
        .unwrap();
        status.stx_mtime.tv_sec = tv_sec;
        status.stx_mtime.tv_nsec = tv_nsec;
        Metadata { status }
    }

    #[test]
    fn times_before_1970_count_their_nanoseconds_forwards() {
        let before = at(-2, 500_000_000).modified().unwrap();
        let gap = SystemTime::UNIX_EPOCH.duration_since(before).unwrap();
        assert_eq!(gap, Duration::from_millis(1500));
        let after = at(2, 5).modified().unwrap();
        let gap = after.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(gap, Duration::new(2, 5));
    }

    #[test]
    fn a_time_beyond_the_clock_is_an_error_and_no_panic() {
        for secs in [i64::MAX, i64::MIN] {
            let time = at(secs, 999_999_999).modified();
            if let Err(error) = time {
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            }
        }
    }
}

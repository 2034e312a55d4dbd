//! [`create_dir`], [`create_dir_all`], [`DirBuilder`].

use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, FileType};

use crate::at::At;

/// What a directory is created with unless told otherwise; the umask is taken off.
const MODE: u32 = 0o777;

/// Creates an empty directory.
///
/// Goes through the ring: `IORING_OP_MKDIRAT`, Linux 5.15; before, on the thread pool.
///
/// # Errors
///
/// What `mkdir(2)` reports: `AlreadyExists`, whatever it is that exists; `NotFound` if the parent does not;
/// `PermissionDenied`, `StorageFull`. `InvalidInput` for a path with a NUL byte.
///
/// # Cancel safety
///
/// If the future is dropped, the directory may be there or not.
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
/// let path = dir.path().join("new");
/// runtime::fs::create_dir(&path).await?;
/// assert!(path.is_dir());
/// # Ok(()) }) }
/// ```
pub async fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    At::CWD.mkdir(path.as_ref(), MODE).await
}

/// Creates a directory and those above it that are missing. One that is there already is as good.
///
/// Several at once, from tasks, threads or processes, may create the same one. Otherwise as [`create_dir`].
///
/// # Errors
///
/// As [`create_dir`]; `AlreadyExists` or `NotADirectory` only if something else than a directory is in the way.
///
/// # Cancel safety
///
/// If the future is dropped, some of the directories may be there.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// let path = dir.path().join("a/b/c");
/// runtime::fs::create_dir_all(&path).await?;
/// runtime::fs::create_dir_all(&path).await?;
/// assert!(path.is_dir());
/// # Ok(()) }) }
/// ```
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path).await
}

/// Creates directories with options.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// use std::os::unix::fs::PermissionsExt;
///
/// let path = dir.path().join("a/private");
/// let mut builder = runtime::fs::DirBuilder::new();
/// builder.recursive(true).mode(0o700).create(&path).await?;
/// assert_eq!(path.metadata()?.permissions().mode() & 0o777, 0o700);
/// # Ok(()) }) }
/// ```
#[derive(Clone, Debug)]
pub struct DirBuilder {
    mode: u32,
    recursive: bool,
}

impl DirBuilder {
    /// One directory, with what the umask leaves of mode `0o777`.
    pub fn new() -> DirBuilder {
        DirBuilder {
            mode: MODE,
            recursive: false,
        }
    }

    /// Whether missing parents are created too, with the same mode, and a directory that is there already is as good.
    /// Default: no.
    pub fn recursive(&mut self, recursive: bool) -> &mut DirBuilder {
        self.recursive = recursive;
        self
    }

    /// The mode, from which the umask is taken off. Default: `0o777`.
    pub fn mode(&mut self, mode: u32) -> &mut DirBuilder {
        self.mode = mode;
        self
    }

    /// Creates the directory; see [`create_dir`] and [`create_dir_all`].
    ///
    /// # Errors
    ///
    /// As theirs.
    pub async fn create(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.create_at(At::CWD, path.as_ref()).await
    }

    pub(crate) async fn create_at(&self, at: At<'_>, path: &Path) -> io::Result<()> {
        if !self.recursive {
            return at.mkdir(path, self.mode).await;
        }
        // Upwards until one can be created, then down again.
        let mut missing = Vec::new();
        let mut next = Some(path);
        while let Some(path) = next.filter(|path| !path.as_os_str().is_empty()) {
            match at.mkdir(path, self.mode).await {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    next = path.parent();
                    missing.push(path);
                    if next.is_none() {
                        return Err(error);
                    }
                }
                Err(error) => {
                    is_dir_or(at, path, error).await?;
                    break;
                }
            }
        }
        for path in missing.into_iter().rev() {
            if let Err(error) = at.mkdir(path, self.mode).await {
                is_dir_or(at, path, error).await?;
            }
        }
        Ok(())
    }
}

impl Default for DirBuilder {
    fn default() -> DirBuilder {
        DirBuilder::new()
    }
}

/// Somebody else may have created it; and of a directory above, more may be wrong than that it exists (a file system
/// that is read-only says so first).
async fn is_dir_or(at: At<'_>, path: &Path, error: io::Error) -> io::Result<()> {
    let path = path.to_owned();
    let is_dir = at.on_pool(move |at| {
        let status = rustix::fs::statat(at, path, AtFlags::empty())?;
        Ok(FileType::from_raw_mode(status.st_mode) == FileType::Directory)
    });
    match is_dir.await {
        Ok(true) => Ok(()),
        _ => Err(error),
    }
}

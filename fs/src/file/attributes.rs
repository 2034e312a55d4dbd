//! What a file is: its length, its permissions, its times.

use std::fs::{FileTimes, Permissions};
use std::io;
use std::time::SystemTime;

use annulet_driver::Op;
use annulet_driver::buf::Alignment;
use annulet_driver::op::Ftruncate;

use super::File;
use crate::metadata::{self, Metadata};
use crate::pool;

impl File {
    /// What is known about the file.
    ///
    /// Goes through the ring: `IORING_OP_STATX`, Linux 5.6. For a limit of time use a timeout of the future's.
    ///
    /// # Errors
    ///
    /// `EBADF` if the file is closed; `Unsupported` where the ring has no such operation.
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
    /// let file = runtime::fs::File::open("/proc/self/exe").await?;
    /// let metadata = file.metadata().await?;
    /// assert!(metadata.is_file() && metadata.len() > 0);
    /// # Ok(()) }) }
    /// ```
    pub async fn metadata(&self) -> io::Result<Metadata> {
        metadata::ask_open(&self.fd).await
    }

    /// What reads and writes of this file need, if it was opened with
    /// [`direct`](crate::OpenOptions::direct) and the kernel (Linux 6.1) tells.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::buf::AlignedBuf;
    /// use runtime::fs::OpenOptions;
    ///
    /// let path = std::env::current_exe()?;
    /// let Ok(file) = OpenOptions::new().read(true).direct(true).open(path).await else {
    ///     return Ok(()); // not on this file system
    /// };
    /// let (result, buf) = file.read_at(AlignedBuf::<4096>::with_capacity(4096), 0).await;
    /// assert_eq!(result?, 4096);
    /// assert_eq!(&buf[..4], b"\x7fELF");
    ///
    /// if let Some(alignment) = file.direct_alignment() {
    ///     assert!(alignment.offset() > 1);
    ///     let (result, _buf) = file.read_at(vec![0; 100], 1).await;
    ///     assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    /// }
    /// # Ok(()) }) }
    /// ```
    pub fn direct_alignment(&self) -> Option<Alignment> {
        self.alignment
    }

    /// Sets the length: cuts the file off, or adds zeros. The cursor stays.
    ///
    /// Goes through the ring: `IORING_OP_FTRUNCATE`, Linux 6.9; before that it runs on the thread pool. For a limit of
    /// time use a timeout of the future's.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the file is not open for writing, or for a length beyond 2^63 - 1; `FileTooLarge`; `EBADF` if
    /// the file is closed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, it may have been done or not.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let path = std::env::temp_dir().join(format!("annulet-doc-len-{}", std::process::id()));
    /// let file = runtime::fs::File::create(&path).await?;
    /// file.set_len(10).await?;
    /// assert_eq!(file.metadata().await?.len(), 10);
    /// # std::fs::remove_file(path)?;
    /// # Ok(()) }) }
    /// ```
    pub async fn set_len(&self, len: u64) -> io::Result<()> {
        match Op::on(&self.fd, Ftruncate::new(len)).await {
            // The ring's own refusal; a file system's has a number.
            Err(error)
                if error.kind() == io::ErrorKind::Unsupported && error.raw_os_error().is_none() =>
            {
                pool::on_file(&self.fd, move |file| file.set_len(len)).await
            }
            done => done,
        }
    }

    /// Sets who may do what with the file (`fchmod(2)`).
    ///
    /// No opcode: runs on the thread pool.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` if the file is another user's; `ReadOnlyFilesystem`; `EBADF` if the file is closed; `EMFILE`
    /// when out of descriptors (the pool has one of its own).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, it may have been done, or be done later.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let path = std::env::temp_dir().join(format!("annulet-doc-mode-{}", std::process::id()));
    /// use std::os::unix::fs::PermissionsExt;
    ///
    /// let file = runtime::fs::File::create(&path).await?;
    /// file.set_permissions(PermissionsExt::from_mode(0o600)).await?;
    /// assert_eq!(file.metadata().await?.mode() & 0o777, 0o600);
    /// # std::fs::remove_file(path)?;
    /// # Ok(()) }) }
    /// ```
    pub async fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        pool::on_file(&self.fd, move |file| file.set_permissions(permissions)).await
    }

    /// Sets when the file was read and changed last (`futimens(2)`). Otherwise as
    /// [`set_permissions`](File::set_permissions).
    ///
    /// # Errors
    ///
    /// As [`set_permissions`](File::set_permissions).
    pub async fn set_times(&self, times: FileTimes) -> io::Result<()> {
        pool::on_file(&self.fd, move |file| file.set_times(times)).await
    }

    /// Sets when the file was changed last; see [`set_times`](File::set_times).
    ///
    /// # Errors
    ///
    /// As [`set_permissions`](File::set_permissions).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let path = std::env::temp_dir().join(format!("annulet-doc-times-{}", std::process::id()));
    /// let file = runtime::fs::File::create(&path).await?;
    /// file.set_modified(std::time::SystemTime::UNIX_EPOCH).await?;
    /// assert_eq!(file.metadata().await?.mtime(), 0);
    /// # std::fs::remove_file(path)?;
    /// # Ok(()) }) }
    /// ```
    pub async fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time)).await
    }
}

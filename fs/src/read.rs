//! Whole files by their path: [`read`], [`read_to_string`], [`write`].

use std::io;
use std::path::Path;

use annulet_driver::IoBuf;

use crate::file::File;

/// Reads all of the file at `path`.
///
/// It opens, reads to the end and closes, all through the ring: see [`File::open`] and [`File::read_to_end`]. For a
/// limit of time use a timeout of the future's.
///
/// # Errors
///
/// As [`OpenOptions::open`](crate::OpenOptions::open) and [`File::read_to_end`].
///
/// # Cancel safety
///
/// Dropping the future loses nothing but what was read by then.
///
/// # Panics
///
/// If awaited outside a runtime.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// # let path = std::env::temp_dir().join(format!("annulet-doc-whole-{}", std::process::id()));
/// runtime::fs::write(&path, "hello").await?;
/// assert_eq!(runtime::fs::read(&path).await?, b"hello");
/// assert_eq!(runtime::fs::read_to_string(&path).await?, "hello");
/// # std::fs::remove_file(path)?;
/// # Ok(()) }) }
/// ```
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let file = File::open(path).await?;
    let (result, bytes) = file.read_to_end(Vec::new()).await;
    result.map(|_| bytes)
}

/// Reads all of the file at `path`, which is text; otherwise as [`read`].
///
/// # Errors
///
/// `InvalidData` if it is not UTF-8; otherwise as [`read`].
pub async fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let file = File::open(path).await?;
    let (result, text) = file.read_to_string(String::new()).await;
    result.map(|_| text)
}

/// Writes `contents` to the file at `path`, which is created or emptied first, and closes it.
///
/// All through the ring: see [`File::create`], [`File::write_all`] and [`File::close`]. The buffer is dropped in the end.
/// Whoever reads the file meanwhile finds a part of it. For a limit of time use a timeout of the future's.
///
/// # Errors
///
/// As [`OpenOptions::open`](crate::OpenOptions::open), [`File::write_all`] and [`File::close`]. The file is then there,
/// with a part of the contents.
///
/// # Cancel safety
///
/// If the future is dropped, any part of the contents may have been written.
///
/// # Panics
///
/// If awaited outside a runtime.
pub async fn write(path: impl AsRef<Path>, contents: impl IoBuf) -> io::Result<()> {
    let file = File::create(path).await?;
    file.write_all(contents).await.0?;
    file.close().await
}

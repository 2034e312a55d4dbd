//! What has no opcode: run on a thread of the [`blocking`] crate's pool.

use std::fs;
use std::io;

use annulet_driver::Fd;

/// Runs `f` on the pool, with the open file.
///
/// What runs there has a duplicate of the descriptor: it does not hold back a close of the handle, nor does such a
/// close end it.
pub(crate) async fn on_file<R: Send + 'static>(
    fd: &Fd,
    f: impl FnOnce(fs::File) -> io::Result<R> + Send + 'static,
) -> io::Result<R> {
    let file = fd.with(|fd| fd.try_clone_to_owned())?;
    blocking::unblock(move || f(file.into())).await
}

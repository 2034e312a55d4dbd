//! Files and pipes of the Annulet runtime: what users hold, named as in `std`.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `file/`, `open_options` | [`File`], [`OpenOptions`]: reading and writing files |
//! | `metadata` | [`Metadata`], [`FileType`]; [`metadata()`], [`symlink_metadata()`], [`exists()`] |
//! | `read` | whole files: [`read()`], [`read_to_string()`], [`write()`] |
//! | `copy`, `rename`, `link`, `remove`, `remove_dir_all`, `set_permissions` | what `std::fs` has by these names |
//! | `create_dir`, `read_dir` | [`DirBuilder`] and [`ReadDir`], and what makes them |
//! | `dir` | [`Dir`]: an open directory, and all of the above relative to it |
//! | `temp_file`, `write_atomic` | [`TempFile`], [`write_atomic()`]: files that are there as a whole or not at all |
//! | `xattr` | [`xattr()`], [`set_xattr`], [`xattrs`], [`remove_xattr`]: extended attributes |
//! | [`pipe`](mod@pipe) | [`pipe()`](fn@pipe), [`PipeReader`], [`PipeWriter`]: pipes, `pipe(7)`, and those with a name |
//! | [`stdio`] | standard input, output and error; the runtime's `io` has them |
//!
//! Below them, `at` knows where a path is relative to, and whether the ring or the thread pool takes it.
//!
//! A handle owns an [`Fd`](annulet_driver::Fd), and its methods build operations on it. How operations run, end
//! and what becomes of dropped ones is the driver's.
#![forbid(unsafe_code)]

mod at;
mod copy;
mod create_dir;
mod dir;
mod file;
mod link;
mod metadata;
mod open_options;
pub mod pipe;
mod pool;
mod read;
mod read_dir;
mod remove;
mod remove_dir_all;
mod rename;
mod set_permissions;
pub mod stdio;
mod temp_file;
mod write_atomic;
mod xattr;

pub use std::fs::{FileTimes, Permissions, TryLockError};

pub use annulet_driver::IntoStdError;

pub use crate::copy::copy;
pub use crate::create_dir::{DirBuilder, create_dir, create_dir_all};
pub use crate::dir::Dir;
pub use crate::file::{Advice, Allocate, Block, File, ReadMany};
pub use crate::link::{canonicalize, hard_link, read_link, symlink};
pub use crate::metadata::{FileType, Metadata, exists, metadata, symlink_metadata};
pub use crate::open_options::OpenOptions;
pub use crate::pipe::{PipeReader, PipeWriter, pipe};
pub use crate::read::{read, read_to_string, write};
pub use crate::read_dir::{DirEntry, ReadDir, read_dir};
pub use crate::remove::{remove_dir, remove_file};
pub use crate::remove_dir_all::remove_dir_all;
pub use crate::rename::rename;
pub use crate::set_permissions::set_permissions;
pub use crate::temp_file::TempFile;
pub use crate::write_atomic::write_atomic;
pub use crate::xattr::{remove_xattr, set_xattr, xattr, xattrs};

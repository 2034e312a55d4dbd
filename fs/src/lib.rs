//! Files and pipes of the Annulet runtime: what users hold, named as in `std`.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `file/`, `open_options` | [`File`], [`OpenOptions`]: reading and writing files |
//! | `metadata` | [`Metadata`], [`FileType`]; [`metadata()`], [`symlink_metadata()`], [`exists()`] |
//! | `read` | whole files: [`read()`], [`read_to_string()`], [`write()`] |
//! | [`pipe`](mod@pipe) | [`pipe()`](fn@pipe), [`PipeReader`], [`PipeWriter`]: anonymous pipes, `pipe(7)` |
//!
//! A handle owns an [`Fd`](annulet_driver::Fd), and its methods build operations on it. How operations run, end
//! and what becomes of dropped ones is the driver's.
#![forbid(unsafe_code)]

mod file;
mod metadata;
mod open_options;
pub mod pipe;
mod pool;
mod read;

pub use std::fs::{FileTimes, Permissions, TryLockError};

pub use annulet_driver::IntoStdError;

pub use crate::file::{Advice, Allocate, File};
pub use crate::metadata::{FileType, Metadata, exists, metadata, symlink_metadata};
pub use crate::open_options::OpenOptions;
pub use crate::pipe::{PipeReader, PipeWriter, pipe};
pub use crate::read::{read, read_to_string, write};

//! Files and pipes of the Annulet runtime: what users hold, named as in `std`.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`pipe`](mod@pipe) | [`pipe()`](fn@pipe), [`PipeReader`], [`PipeWriter`]: anonymous pipes, `pipe(7)` |
//!
//! A handle owns an [`Fd`](annulet_driver::Fd), and its methods build operations on it. How operations run, end
//! and what becomes of dropped ones is the driver's.
#![forbid(unsafe_code)]

pub mod pipe;

pub use annulet_driver::IntoStdError;

pub use crate::pipe::{PipeReader, PipeWriter, pipe};

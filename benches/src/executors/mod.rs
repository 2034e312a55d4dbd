//! The runtimes, a file each, with what their makers recommend for one thread.

mod annulet;
mod tokio;

pub use self::annulet::Annulet;
pub use self::tokio::Tokio;

//! Files: what `File` claims by itself, and that it does what `std::fs` does.

mod arena;
mod cached;
mod claims;
mod direct;
mod lock;
mod options;
mod oracle;
mod read_many;
mod registered;

use std::path::PathBuf;

use tempfile::TempDir;

/// A directory in the target directory, on a disk rather than in memory; removed in the end.
struct Dir(TempDir);

impl Dir {
    fn new() -> Dir {
        Dir(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn with(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

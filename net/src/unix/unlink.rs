//! The path of a listener, to be removed when that ends.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Removes a path once: if the same socket is still there, and not what somebody has put in its place.
#[derive(Debug, Default)]
pub(super) struct Unlink(Mutex<Option<Place>>);

#[derive(Debug)]
struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Place {
    fn of(path: PathBuf) -> io::Result<Place> {
        let metadata = std::fs::symlink_metadata(&path)?;
        Ok(Place {
            path,
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

impl Unlink {
    pub(super) fn arm(&self, path: &Path) -> io::Result<()> {
        // Absolute, as the process may change its directory meanwhile.
        let place = Place::of(std::path::absolute(path)?)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        Ok(())
    }

    pub(super) fn disarm(&self) {
        self.take();
    }

    fn take(&self) -> Option<Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Does it, if it is armed. There is nobody to tell that it failed: somebody was faster.
    pub(super) fn now(&self) {
        let Some(place) = self.take() else {
            return;
        };
        let there = Place::of(place.path);
        if let Ok(there) = there
            && (there.device, there.inode) == (place.device, place.inode)
        {
            let _ = std::fs::remove_file(there.path);
        }
    }
}

impl Drop for Unlink {
    fn drop(&mut self) {
        self.now();
    }
}

//! Locking a whole file against other openings of it (`flock(2)`), with the names of `std::fs::File`.
//!
//! There is no opcode, and waiting for a lock cannot be cancelled. So a thread of the pool waits, on a duplicate of the
//! descriptor; should nobody want the lock any more when it comes, it is let go at once.

use std::fs::TryLockError;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::File;
use crate::pool;

/// What becomes of a lock that a thread of the pool waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Awaited,
    /// Nobody wants it any more.
    GivenUp,
    /// It is there. Whoever awaited it has not seen that yet.
    Held,
}

/// Dropped before the lock was handed over, lets it go: now, or when it comes.
struct Awaiting<'a> {
    file: &'a File,
    stage: Arc<Mutex<Stage>>,
}

fn replace(stage: &Mutex<Stage>, next: impl FnOnce(Stage) -> Stage) -> Stage {
    let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
    let before = *stage;
    *stage = next(before);
    before
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        if replace(&self.stage, |_| Stage::GivenUp) == Stage::Held {
            // To let go of a lock does not block. If the file is closed, so is the lock's.
            let unlock = rustix::fs::FlockOperation::NonBlockingUnlock;
            let _ = self.file.fd.with(|fd| Ok(rustix::fs::flock(fd, unlock)?));
        }
    }
}

impl File {
    /// Locks the file for this handle alone, and waits until no other handle has it locked.
    ///
    /// The lock belongs to the open file, with all clones of the handle; the closing of the last lets it go. It binds
    /// only those who lock, too.
    ///
    /// No opcode: a thread of the pool waits for it, one for each lock that is waited for. Do not wait for many at once:
    /// [`try_lock`](File::try_lock) from time to time takes none.
    ///
    /// # Errors
    ///
    /// What `flock(2)` reports; `EBADF` if the file is closed; `EMFILE` when out of descriptors (the pool has one of its
    /// own). Closing the file does not end the waiting: drop the future.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the lock is not held: when it comes it is let go at once. The thread waits on for it. A
    /// lock that the handle had before is lost, and so may be one that it gets before that: lock anew by another handle.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let path = std::env::temp_dir().join(format!("annulet-doc-lock-{}", std::process::id()));
    /// use runtime::fs::{File, TryLockError};
    ///
    /// let ours = File::create(&path).await?;
    /// ours.lock().await?;
    /// let theirs = File::open(&path).await?;
    /// assert!(matches!(theirs.try_lock().await, Err(TryLockError::WouldBlock)));
    /// ours.unlock().await?;
    /// theirs.lock_shared().await?;
    /// # std::fs::remove_file(path)?;
    /// # Ok(()) }) }
    /// ```
    pub async fn lock(&self) -> io::Result<()> {
        self.wait_for_lock(std::fs::File::lock).await
    }

    /// As [`lock`](File::lock), together with all others who lock it so.
    ///
    /// # Errors
    ///
    /// As [`lock`](File::lock).
    pub async fn lock_shared(&self) -> io::Result<()> {
        self.wait_for_lock(std::fs::File::lock_shared).await
    }

    /// As [`lock`](File::lock), without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if another handle has it locked; otherwise as [`lock`](File::lock).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the lock is not held.
    pub async fn try_lock(&self) -> Result<(), TryLockError> {
        self.try_to_lock(std::fs::File::try_lock).await
    }

    /// As [`lock_shared`](File::lock_shared), without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if another handle has it locked for itself alone; otherwise as [`lock`](File::lock).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the lock is not held.
    pub async fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.try_to_lock(std::fs::File::try_lock_shared).await
    }

    /// Lets go of the lock; does nothing if there is none. Runs on the thread pool.
    ///
    /// # Errors
    ///
    /// As [`lock`](File::lock).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, it may have been done, or be done later.
    pub async fn unlock(&self) -> io::Result<()> {
        pool::on_file(&self.fd, |file| file.unlock()).await
    }

    async fn try_to_lock(
        &self,
        lock: fn(&std::fs::File) -> Result<(), TryLockError>,
    ) -> Result<(), TryLockError> {
        let locked = self
            .wait_for_lock(move |file| match lock(file) {
                Ok(()) => Ok(()),
                Err(TryLockError::Error(error)) => Err(error),
                Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            })
            .await;
        locked.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => TryLockError::WouldBlock,
            _ => TryLockError::Error(error),
        })
    }

    async fn wait_for_lock(
        &self,
        lock: impl Fn(&std::fs::File) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let stage = Arc::new(Mutex::new(Stage::Awaited));
        let awaiting = Awaiting {
            file: self,
            stage: stage.clone(),
        };
        let locked = pool::on_file(&self.fd, move |file| {
            if replace(&stage, |stage| stage) == Stage::GivenUp {
                return Ok(());
            }
            // A signal is no answer.
            while let Err(error) = lock(&file) {
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            let held = |stage| match stage {
                Stage::Awaited => Stage::Held,
                other => other,
            };
            if replace(&stage, held) == Stage::GivenUp {
                file.unlock()?;
            }
            Ok(())
        })
        .await;
        // Handed over: nothing is to be let go when `awaiting` is dropped.
        replace(&awaiting.stage, |_| Stage::Awaited);
        locked
    }
}

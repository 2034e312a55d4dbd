//! What was received, in memory that is lent.

use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;

use super::IoBuf;
use super::pool::Pool;

/// Bytes that were received into a buffer of the runtime's.
///
/// It is a slice of bytes, `[u8]`. Dropped, it gives its buffer back to the pool of its thread's runtime, which it may
/// outlive. It is a buffer to write from itself ([`IoBuf`]), so what was received can be sent on without a copy. It stays
/// on its thread; [`to_vec`](slice::to_vec) copies it.
///
/// A buffer that is kept is not there for others: the pool grows, up to
/// [`Setup::chunk_limit`](crate::Setup::chunk_limit), past which receives take memory of their own. So keep chunks for
/// as long as their bytes are being worked on, and copy what is to stay. With
/// [`Setup::incremental`](crate::Setup::incremental) a buffer holds several chunks, and is there again when all are gone.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::net::UnixStream;
///
/// let (ours, theirs) = UnixStream::pair()?;
/// theirs.write_all("key=value").await.0?;
/// let mut chunk = ours.recv().await?;
/// assert_eq!(&chunk[..], b"key=value");
/// chunk.advance(4);
/// ours.write_all(chunk).await.0?;
/// assert_eq!(&theirs.recv().await?[..], b"value");
/// # Ok(()) }) }
/// ```
pub struct Chunk {
    start: NonNull<u8>,
    len: usize,
    home: Home,
}

/// Whose the memory is.
#[expect(
    clippy::box_collection,
    reason = "a chunk is moved often, so it is small; memory of its own is rare"
)]
enum Home {
    Nobody,
    Pool(Rc<Pool>, u16),
    Heap(Box<Vec<u8>>),
}

impl Chunk {
    /// No bytes.
    pub(crate) fn empty() -> Chunk {
        Chunk {
            start: NonNull::dangling(),
            len: 0,
            home: Home::Nobody,
        }
    }

    /// # Safety
    ///
    /// `len` initialised bytes at `start` are those of the pool's buffer `index`, or the first of them, and nobody else's
    /// until that is given back.
    #[inline]
    pub(super) unsafe fn lent(start: NonNull<u8>, len: usize, pool: Rc<Pool>, index: u16) -> Chunk {
        Chunk {
            start,
            len,
            home: Home::Pool(pool, index),
        }
    }

    /// Drops the first `n` bytes.
    ///
    /// # Panics
    ///
    /// If there are less.
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len, "advanced by {n} of {} bytes", self.len);
        // SAFETY: within the bytes that are ours, or just behind them.
        self.start = unsafe { self.start.add(n) };
        self.len -= n;
    }

    /// Drops all but the first `len` bytes. Does nothing if there are no more.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The bytes as a vector: a copy, unless the memory was the chunk's own.
    pub fn into_vec(mut self) -> Vec<u8> {
        match &mut self.home {
            Home::Heap(all) if all.as_ptr() == self.start.as_ptr() => {
                let mut all = mem::take(&mut **all);
                all.truncate(self.len);
                all
            }
            Home::Heap(_) | Home::Pool(..) | Home::Nobody => self.to_vec(),
        }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes are initialised there, and nobody else's as long as the chunk is (`lent`, `from`).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Chunk {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; and this chunk is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Chunk {
    fn from(mut bytes: Vec<u8>) -> Chunk {
        Chunk {
            start: NonNull::new(bytes.as_mut_ptr()).unwrap_or(NonNull::dangling()),
            len: bytes.len(),
            home: Home::Heap(Box::new(bytes)),
        }
    }
}

// SAFETY: the bytes are in a block of the pool, which the chunk keeps alive, or on the heap; neither moves with the value.
unsafe impl IoBuf for Chunk {
    fn stable_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len
    }
}

impl Drop for Chunk {
    #[inline]
    fn drop(&mut self) {
        if let Home::Pool(pool, index) = &self.home {
            pool.give_back(*index);
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("len", &self.len).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_stays_small() {
        assert!(size_of::<Chunk>() <= 32, "{}", size_of::<Chunk>());
    }

    #[test]
    fn memory_of_its_own_becomes_a_vector_again() {
        let bytes = b"0123456789".to_vec();
        let at = bytes.as_ptr();
        let mut chunk = Chunk::from(bytes);
        chunk.truncate(8);
        chunk.truncate(9);
        let bytes = chunk.into_vec();
        assert_eq!((&bytes[..], bytes.as_ptr()), (&b"01234567"[..], at));
        let mut chunk = Chunk::from(bytes);
        chunk.advance(3);
        assert_eq!(chunk[..], *b"34567");
        assert_eq!(chunk.into_vec(), b"34567");
        assert!(Chunk::empty().into_vec().is_empty());
    }

    #[test]
    #[should_panic = "advanced by 3 of 2 bytes"]
    fn nothing_is_behind_the_end() {
        Chunk::from(vec![0; 2]).advance(3);
    }
}

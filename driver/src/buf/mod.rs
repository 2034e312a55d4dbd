//! Buffers that can be handed to the kernel and come back.
//!
//! An operation owns its buffer from its start to its last completion and gives it back with the result:
//! `(io::Result<usize>, B)`. So a buffer must be a value that owns its memory, and that memory must not move
//! while the value is left alone. That is what the traits here promise.
#![allow(unsafe_code, reason = "the traits promise stable memory")]

mod aligned;
mod arena;
mod chunk;
mod pool;
mod slice;
mod vectored;

pub use self::aligned::{AlignedBuf, Alignment};
#[doc(hidden)]
pub use self::arena::Region;
pub use self::arena::{Arena, ArenaBuf};
pub use self::chunk::Chunk;
pub(crate) use self::pool::{GROUP, Pool, Usage};
pub use self::slice::{IoBufExt, Slice};
pub(crate) use self::vectored::IoVecs;
pub use self::vectored::{IoVectoredBuf, IoVectoredBufMut};

use std::rc::Rc;
use std::sync::Arc;

/// What an operation with a buffer resolves to: its result, and the buffer back.
pub type BufResult<T, B> = (std::io::Result<T>, B);

/// A buffer to write from.
///
/// # Safety
///
/// `stable_ptr` must point at `bytes_init` initialised bytes which stay there, alive and unchanged, for as
/// long as the value is neither accessed, moved nor dropped. The methods must not panic, nor use the runtime.
pub unsafe trait IoBuf: 'static {
    /// The first byte.
    fn stable_ptr(&self) -> *const u8;

    /// How many bytes are initialised: what a write sends.
    fn bytes_init(&self) -> usize;

    /// The memory that a ring may know, which all of the buffer lies in.
    #[doc(hidden)]
    fn region(&self) -> Option<&Region> {
        None
    }
}

/// A buffer to read into.
///
/// # Safety
///
/// As for [`IoBuf`]; besides, `stable_mut_ptr` must point at `bytes_total` writable bytes that nobody else
/// may access (shared buffers are no `IoBufMut`), the first `bytes_init` of which are those of `IoBuf`.
pub unsafe trait IoBufMut: IoBuf {
    /// The first byte.
    fn stable_mut_ptr(&mut self) -> *mut u8;

    /// How many bytes there is room for: what a read may fill.
    fn bytes_total(&self) -> usize;

    /// Tells the buffer that its first `n` bytes were filled by a read.
    ///
    /// A growable buffer (`Vec<u8>`) is then exactly `n` long; one of fixed size stays as long as it is.
    ///
    /// # Safety
    ///
    /// The first `n` bytes are initialised, and `n` is at most `bytes_total`.
    unsafe fn set_init(&mut self, n: usize);
}

macro_rules! shared_bytes {
    ($($type:ty),*) => {$(
        // SAFETY: the bytes are on the heap (or static), immutable, and kept alive by the value.
        unsafe impl IoBuf for $type {
            fn stable_ptr(&self) -> *const u8 {
                self.as_ptr()
            }
            fn bytes_init(&self) -> usize {
                self.len()
            }
        }
    )*};
}

shared_bytes!(
    &'static [u8],
    &'static str,
    String,
    Rc<[u8]>,
    Arc<[u8]>,
    Rc<str>,
    Arc<str>,
    Vec<u8>,
    Box<[u8]>
);

// SAFETY: the heap block does not move with the `Vec`, which owns it alone; its spare capacity is writable.
unsafe impl IoBufMut for Vec<u8> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
    fn bytes_total(&self) -> usize {
        self.capacity()
    }
    unsafe fn set_init(&mut self, n: usize) {
        // SAFETY: the caller's: `n` bytes are initialised and within the capacity.
        unsafe { self.set_len(n) };
    }
}

// SAFETY: the heap block does not move with the box, which owns it alone.
unsafe impl IoBufMut for Box<[u8]> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
    fn bytes_total(&self) -> usize {
        self.len()
    }
    unsafe fn set_init(&mut self, _n: usize) {}
}

// SAFETY: the bytes are static and immutable.
unsafe impl<const N: usize> IoBuf for &'static [u8; N] {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn bytes_init(&self) -> usize {
        N
    }
}

// SAFETY: an array moves with its value, but a value that is not moved keeps it where it is.
unsafe impl<const N: usize> IoBuf for [u8; N] {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn bytes_init(&self) -> usize {
        N
    }
}

// SAFETY: as above, and the value owns its bytes alone.
unsafe impl<const N: usize> IoBufMut for [u8; N] {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
    fn bytes_total(&self) -> usize {
        N
    }
    unsafe fn set_init(&mut self, _n: usize) {}
}

#[cfg(feature = "bytes")]
mod bytes_impls {
    use super::{IoBuf, IoBufMut};

    shared_bytes!(bytes::Bytes, bytes::BytesMut);

    // SAFETY: the unfilled part is owned by this value alone and does not move with it.
    unsafe impl IoBufMut for bytes::BytesMut {
        fn stable_mut_ptr(&mut self) -> *mut u8 {
            self.as_mut_ptr()
        }
        fn bytes_total(&self) -> usize {
            self.capacity()
        }
        unsafe fn set_init(&mut self, n: usize) {
            // SAFETY: the caller's: `n` bytes are initialised and within the capacity.
            unsafe { self.set_len(n) };
        }
    }
}

/// The initialised bytes of a buffer.
pub(crate) fn bytes<B: IoBuf>(buf: &B) -> &[u8] {
    // SAFETY: the trait promises so many initialised bytes, unchanged while `buf` is borrowed.
    unsafe { std::slice::from_raw_parts(buf.stable_ptr(), buf.bytes_init()) }
}

/// Notes that the kernel has filled the first `n` bytes and returns them.
pub(crate) fn filled<B: IoBufMut>(buf: &mut B, n: usize) -> &[u8] {
    let n = n.min(buf.bytes_total());
    // SAFETY: the kernel has written `n` bytes from the start; never more than it was given.
    unsafe { buf.set_init(n) };
    // SAFETY: just initialised, within the buffer, borrowed with it.
    unsafe { std::slice::from_raw_parts(buf.stable_ptr(), n) }
}

/// Copies from `from` what fits into `buf`, as a read would, and returns how much that was.
pub(crate) fn fill<B: IoBufMut>(buf: &mut B, from: &[u8]) -> usize {
    let n = from.len().min(buf.bytes_total());
    // SAFETY: `n` bytes fit, and `from`, a shared borrow, cannot overlap what `buf` owns alone.
    unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), buf.stable_mut_ptr(), n) };
    // SAFETY: just written.
    unsafe { buf.set_init(n) };
    n
}

/// As [`fill`], behind the `at` bytes that were filled before.
pub(crate) fn fill_from<B: IoBufMut>(buf: &mut B, at: usize, from: &[u8]) -> usize {
    let n = from.len().min(buf.bytes_total().saturating_sub(at));
    if n > 0 {
        // SAFETY: there are `n` bytes of room at `at`, which is within the buffer as `n` is not 0; and `from`,
        // a shared borrow, cannot overlap what `buf` owns alone.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), buf.stable_mut_ptr().add(at), n) };
    }
    n
}

/// A length as the kernel takes it: reads and writes move at most 2 GiB less a page at a time.
#[inline]
pub(crate) fn kernel_len(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX).min(0x7fff_f000)
}

/// A number of vectors as the kernel takes it: with more than 1024 (`IOV_MAX`) it takes none.
pub(crate) fn kernel_count(len: usize) -> u32 {
    (len as u32).min(libc::UIO_MAXIOV.cast_unsigned())
}

/// The answer to a buffer that leaves nothing to do.
#[inline]
pub(crate) fn refuse_empty(len: usize, what: &str) -> std::io::Result<()> {
    if len == 0 {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            what.to_owned(),
        ));
    }
    Ok(())
}

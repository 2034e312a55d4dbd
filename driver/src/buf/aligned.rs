//! Buffers at aligned addresses, and what `O_DIRECT` asks of buffers, lengths and offsets.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::{IoBuf, IoBufMut, IoVectoredBuf};

/// What a file opened with `O_DIRECT` asks for: where in memory buffers begin, and where in the file reads and writes
/// begin and end. Both are powers of two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Alignment {
    memory_log2: u8,
    offset_log2: u8,
}

impl Alignment {
    /// Nothing in particular.
    pub(crate) const NONE: Alignment = Alignment {
        memory_log2: 0,
        offset_log2: 0,
    };

    /// Buffers at multiples of `memory` bytes; offsets and lengths of multiples of `offset` bytes. `None` if one is
    /// no power of two.
    pub fn new(memory: usize, offset: usize) -> Option<Alignment> {
        let log2 = |n: usize| n.is_power_of_two().then(|| n.trailing_zeros() as u8);
        Some(Alignment {
            memory_log2: log2(memory)?,
            offset_log2: log2(offset)?,
        })
    }

    /// Of a buffer's address, in bytes.
    pub fn memory(self) -> usize {
        1 << self.memory_log2
    }

    /// Of offsets and lengths, in bytes.
    pub fn offset(self) -> usize {
        1 << self.offset_log2
    }

    /// Whether so many bytes can be read or written, or lie before where that begins.
    pub(crate) fn fits(self, bytes: u64) -> bool {
        bytes & (self.offset() as u64 - 1) == 0
    }

    /// Refuses a read or a write of `len` bytes at `ptr`. The operation itself is at `holder`, and will move: a
    /// buffer within it is nowhere yet.
    pub(crate) fn check<T>(self, holder: &T, ptr: *const u8, len: usize) -> io::Result<()> {
        if self == Alignment::NONE {
            return Ok(());
        }
        let begin = std::ptr::from_ref(holder).addr();
        if (begin..begin + size_of::<T>()).contains(&ptr.addr()) {
            return Err(self.refused("the buffer is an array, which moves"));
        }
        if ptr.addr() & (self.memory() - 1) != 0 {
            return Err(self.refused("the buffer is at another address"));
        }
        if !self.fits(len as u64) {
            return Err(self.refused(&format!("the length is {len} bytes")));
        }
        Ok(())
    }

    /// As [`check`](Alignment::check), for several buffers with `len` bytes together.
    pub(crate) fn check_vectored<T, B: IoVectoredBuf>(
        self,
        holder: &T,
        bufs: &B,
        len: usize,
    ) -> io::Result<()> {
        let mut checked = self.check(holder, std::ptr::null(), len);
        if self != Alignment::NONE {
            bufs.each(&mut |ptr, _| {
                if checked.is_ok() {
                    checked = self.check(holder, ptr, 0);
                }
            });
        }
        checked
    }

    /// Refuses an offset.
    pub(crate) fn check_offset(self, offset: u64) -> io::Result<()> {
        if self.fits(offset) {
            return Ok(());
        }
        Err(self.refused(&format!("the offset is {offset}")))
    }

    #[cold]
    fn refused(self, what: &str) -> io::Error {
        let (memory, offset) = (self.memory(), self.offset());
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "O_DIRECT needs buffers at multiples of {memory} bytes (AlignedBuf), offsets and lengths of \
                 multiples of {offset} bytes: {what}"
            ),
        )
    }
}

impl fmt::Debug for Alignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alignment")
            .field("memory", &self.memory())
            .field("offset", &self.offset())
            .finish()
    }
}

/// A buffer whose address is a multiple of `ALIGN` bytes and whose capacity is, too: for `O_DIRECT`.
///
/// Like a `Vec<u8>` it has a length, which is what is written from it, and a capacity, which is what is read into it;
/// but it does not grow, and all of it is initialised (with zeros).
///
/// # Examples
///
/// ```
/// use annulet_driver::buf::AlignedBuf;
/// let mut buf = AlignedBuf::<512>::with_capacity(1000);
/// assert_eq!((buf.len(), buf.capacity()), (0, 1024));
/// buf.set_len(3);
/// buf.copy_from_slice(b"abc");
/// assert_eq!(&buf[..], b"abc");
/// ```
pub struct AlignedBuf<const ALIGN: usize = 4096> {
    ptr: NonNull<u8>,
    len: usize,
    capacity: usize,
}

impl<const ALIGN: usize> AlignedBuf<ALIGN> {
    /// An empty buffer with room for `capacity` bytes, rounded up to a multiple of `ALIGN`, at least one.
    ///
    /// # Panics
    ///
    /// If it would be larger than memory can be. That `ALIGN` is a power of two is checked by the compiler.
    pub fn with_capacity(capacity: usize) -> AlignedBuf<ALIGN> {
        let layout = Self::layout(capacity.max(1));
        // SAFETY: the layout's size is not 0.
        let ptr = unsafe { alloc_zeroed(layout) };
        AlignedBuf {
            ptr: NonNull::new(ptr).unwrap_or_else(|| handle_alloc_error(layout)),
            len: 0,
            capacity: layout.size(),
        }
    }

    /// A buffer of `len` zeros.
    ///
    /// # Panics
    ///
    /// As [`with_capacity`](AlignedBuf::with_capacity).
    pub fn zeroed(len: usize) -> AlignedBuf<ALIGN> {
        let mut buf = Self::with_capacity(len);
        buf.len = len;
        buf
    }

    fn layout(capacity: usize) -> Layout {
        const { assert!(ALIGN.is_power_of_two(), "ALIGN is no power of two") };
        Layout::from_size_align(capacity, ALIGN)
            .expect("a buffer larger than memory can be")
            .pad_to_align()
    }

    /// How many bytes there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Makes it `len` bytes long: shows what was there before, or zeros.
    ///
    /// # Panics
    ///
    /// If there is no room for so many.
    pub fn set_len(&mut self, len: usize) {
        assert!(
            len <= self.capacity,
            "{len} bytes in a buffer with room for {}",
            self.capacity
        );
        self.len = len;
    }
}

impl<const ALIGN: usize> From<&[u8]> for AlignedBuf<ALIGN> {
    /// A copy, with the capacity rounded up.
    fn from(bytes: &[u8]) -> AlignedBuf<ALIGN> {
        let mut buf = Self::zeroed(bytes.len());
        buf.copy_from_slice(bytes);
        buf
    }
}

impl<const ALIGN: usize> Deref for AlignedBuf<ALIGN> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` is at most the capacity, all of which this owns and is initialised.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl<const ALIGN: usize> DerefMut for AlignedBuf<ALIGN> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl<const ALIGN: usize> Drop for AlignedBuf<ALIGN> {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout: `pad_to_align` has nothing to add to a padded size.
        unsafe { dealloc(self.ptr.as_ptr(), Self::layout(self.capacity)) };
    }
}

impl<const ALIGN: usize> fmt::Debug for AlignedBuf<ALIGN> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf")
            .field("align", &ALIGN)
            .field("len", &self.len)
            .field("capacity", &self.capacity)
            .finish()
    }
}

// SAFETY: it owns its memory alone, as a `Vec<u8>` does.
unsafe impl<const ALIGN: usize> Send for AlignedBuf<ALIGN> {}
// SAFETY: as above.
unsafe impl<const ALIGN: usize> Sync for AlignedBuf<ALIGN> {}

// SAFETY: the bytes are on the heap, do not move with the value, which owns them alone, and are all initialised.
unsafe impl<const ALIGN: usize> IoBuf for AlignedBuf<ALIGN> {
    fn stable_ptr(&self) -> *const u8 {
        self.ptr.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len
    }
}

// SAFETY: as above; the capacity is writable.
unsafe impl<const ALIGN: usize> IoBufMut for AlignedBuf<ALIGN> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    fn bytes_total(&self) -> usize {
        self.capacity
    }

    unsafe fn set_init(&mut self, n: usize) {
        self.set_len(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_where_its_type_says_and_as_long_as_told() {
        for capacity in [0, 1, 4095, 4096, 4097, 1 << 20] {
            let buf = AlignedBuf::<4096>::with_capacity(capacity);
            assert_eq!(buf.stable_ptr().addr() % 4096, 0);
            assert!(buf.capacity() >= capacity.max(1));
            assert_eq!(buf.capacity() % 4096, 0);
            assert!(buf.is_empty());
            let buf = AlignedBuf::<512>::zeroed(capacity);
            assert_eq!((buf.len(), buf.capacity() % 512), (capacity, 0));
            assert!(buf.iter().all(|byte| *byte == 0));
        }
        let buf = AlignedBuf::<64>::from(&b"abc"[..]);
        assert_eq!(&buf[..], b"abc");
    }

    #[test]
    #[should_panic = "5000 bytes in a buffer with room for 4096"]
    fn a_length_beyond_the_capacity_is_refused() {
        AlignedBuf::<4096>::with_capacity(1).set_len(5000);
    }

    #[test]
    fn what_is_not_aligned_is_told_with_what_is_needed() {
        let alignment = Alignment::new(512, 4096).unwrap();
        let buf = AlignedBuf::<4096>::zeroed(8192);
        let told = |result: io::Result<()>| {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            error.to_string()
        };
        alignment.check(&buf, buf.stable_ptr(), 8192).unwrap();
        alignment.check_offset(8192).unwrap();
        let length = told(alignment.check(&buf, buf.stable_ptr(), 100));
        assert!(length.contains("multiples of 4096 bytes: the length is 100 bytes"));
        let address = told(alignment.check(&buf, buf.stable_ptr().wrapping_add(8), 4096));
        assert!(address.contains("multiples of 512 bytes"), "{address}");
        assert!(told(alignment.check_offset(7)).contains("the offset is 7"));
        let array = [0u8; 4096];
        let moving = told(alignment.check(&array, array.as_ptr(), 4096));
        assert!(moving.contains("an array, which moves"), "{moving}");
        assert_eq!(Alignment::new(0, 512), None);
        assert_eq!(Alignment::new(512, 3), None);
    }
}

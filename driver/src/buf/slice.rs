//! A part of a buffer, as a buffer.

use std::ops::{Bound, RangeBounds};

use super::{IoBuf, IoBufMut, Region, bytes};

/// A part of a buffer; made by [`IoBufExt::slice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice<B> {
    buf: B,
    begin: usize,
    end: usize,
}

impl<B> Slice<B> {
    /// The whole buffer back.
    pub fn into_inner(self) -> B {
        self.buf
    }

    /// The whole buffer.
    pub fn get_ref(&self) -> &B {
        &self.buf
    }

    /// Where in the buffer the part begins.
    pub fn begin(&self) -> usize {
        self.begin
    }

    /// Where in the buffer the part ends.
    pub fn end(&self) -> usize {
        self.end
    }
}

/// Taking parts of buffers, and looking at them.
pub trait IoBufExt: IoBuf + Sized {
    /// The part of the buffer in `range`, as a buffer of its own; it gives the whole back by
    /// [`into_inner`](Slice::into_inner).
    ///
    /// An open end is the end of the room there is for a buffer that can be read into only if the range is
    /// given so; to write from a buffer, the range must lie within its initialised bytes.
    ///
    /// # Panics
    ///
    /// If the range begins after its end or after the buffer's initialised bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use annulet_driver::buf::{IoBuf, IoBufExt};
    /// let part = b"hello".to_vec().slice(1..3);
    /// assert_eq!(part.bytes_init(), 2);
    /// assert_eq!(part.into_inner(), b"hello");
    /// ```
    fn slice(self, range: impl RangeBounds<usize>) -> Slice<Self> {
        let begin = match range.start_bound() {
            Bound::Included(&at) => at,
            Bound::Excluded(&at) => at + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&at) => at + 1,
            Bound::Excluded(&at) => at,
            Bound::Unbounded => usize::MAX,
        };
        assert!(
            begin <= end,
            "slice begins at {begin}, after its end at {end}"
        );
        let init = self.bytes_init();
        assert!(
            begin <= init,
            "slice begins at {begin}, after the {init} initialised bytes"
        );
        Slice {
            buf: self,
            begin,
            end,
        }
    }

    /// The initialised bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use annulet_driver::buf::IoBufExt;
    /// assert_eq!(b"hello".to_vec().slice(1..3).as_bytes(), b"el");
    /// ```
    fn as_bytes(&self) -> &[u8] {
        bytes(self)
    }
}

impl<B: IoBuf> IoBufExt for B {}

// SAFETY: a part of memory for which `B` promises the same; `begin` lies within it (checked when made, and a
// buffer left alone does not shrink; the arithmetic is clamped should a `set_init` have shortened it).
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    fn stable_ptr(&self) -> *const u8 {
        self.buf.stable_ptr().wrapping_add(self.begin)
    }

    fn bytes_init(&self) -> usize {
        self.buf
            .bytes_init()
            .min(self.end)
            .saturating_sub(self.begin)
    }

    fn region(&self) -> Option<&Region> {
        self.buf.region()
    }
}

// SAFETY: as above; `end` is clamped to the room there is.
unsafe impl<B: IoBufMut> IoBufMut for Slice<B> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.buf.stable_mut_ptr().wrapping_add(self.begin)
    }

    fn bytes_total(&self) -> usize {
        self.buf
            .bytes_total()
            .min(self.end)
            .saturating_sub(self.begin)
    }

    unsafe fn set_init(&mut self, n: usize) {
        // SAFETY: the bytes before `begin` are initialised (checked when made), the next `n` by the caller.
        unsafe { self.buf.set_init(self.begin + n) };
    }
}

//! Several buffers for one operation.

use libc::iovec;

use super::{IoBuf, IoBufMut};

/// Vectors up to this many live in the operation itself; more are allocated.
const INLINE: usize = 8;

/// Several buffers to write from, in order: arrays, tuples and `Vec`s of buffers.
///
/// # Safety
///
/// `each` must report the memory of buffers that `self` owns, every one with the promises of [`IoBuf`].
pub unsafe trait IoVectoredBuf: 'static {
    /// Calls `f` with the pointer and the initialised length of each buffer.
    fn each(&self, f: &mut dyn FnMut(*const u8, usize));

    /// All initialised bytes together.
    fn total_init(&self) -> usize {
        let mut total = 0;
        self.each(&mut |_, len| total += len);
        total
    }
}

/// Several buffers to read into, filled in order.
///
/// # Safety
///
/// As [`IoVectoredBuf`], with the promises of [`IoBufMut`].
pub unsafe trait IoVectoredBufMut: IoVectoredBuf {
    /// Calls `f` with the pointer and the room of each buffer.
    fn each_mut(&mut self, f: &mut dyn FnMut(*mut u8, usize));

    /// All the room the buffers have.
    fn total_room(&self) -> usize;

    /// Tells the buffers that `n` bytes were filled, over all of them in order.
    ///
    /// # Safety
    ///
    /// The first `n` bytes of the room there is, in order, are initialised.
    unsafe fn set_init_total(&mut self, n: usize);
}

/// Tells one buffer its share of `left` filled bytes.
///
/// # Safety
///
/// The first `left` bytes of the buffer, or all its room if that is less, are initialised.
unsafe fn set_share<B: IoBufMut>(buf: &mut B, left: &mut usize) {
    let share = buf.bytes_total().min(*left);
    // SAFETY: the caller's.
    unsafe { buf.set_init(share) };
    *left -= share;
}

macro_rules! sequence {
    ($type:ty $(, const $n:ident: usize)?) => {
        // SAFETY: reports exactly the elements' own memory; a sequence left alone keeps its elements.
        unsafe impl<B: IoBuf $(, const $n: usize)?> IoVectoredBuf for $type {
            fn each(&self, f: &mut dyn FnMut(*const u8, usize)) {
                self.iter().for_each(|buf| f(buf.stable_ptr(), buf.bytes_init()));
            }
        }
        // SAFETY: as above.
        unsafe impl<B: IoBufMut $(, const $n: usize)?> IoVectoredBufMut for $type {
            fn each_mut(&mut self, f: &mut dyn FnMut(*mut u8, usize)) {
                for buf in self.iter_mut() {
                    let total = buf.bytes_total();
                    f(buf.stable_mut_ptr(), total);
                }
            }
            fn total_room(&self) -> usize {
                self.iter().map(IoBufMut::bytes_total).sum()
            }
            unsafe fn set_init_total(&mut self, mut n: usize) {
                for buf in self.iter_mut() {
                    // SAFETY: the caller's, in order.
                    unsafe { set_share(buf, &mut n) };
                }
            }
        }
    };
}

sequence!(Vec<B>);
sequence!([B; N], const N: usize);

macro_rules! tuple {
    ($($name:ident $at:tt),*) => {
        // SAFETY: reports exactly the members' own memory.
        unsafe impl<$($name: IoBuf),*> IoVectoredBuf for ($($name,)*) {
            fn each(&self, f: &mut dyn FnMut(*const u8, usize)) {
                $(f(self.$at.stable_ptr(), self.$at.bytes_init());)*
            }
        }
        // SAFETY: as above.
        unsafe impl<$($name: IoBufMut),*> IoVectoredBufMut for ($($name,)*) {
            fn each_mut(&mut self, f: &mut dyn FnMut(*mut u8, usize)) {
                $(let total = self.$at.bytes_total(); f(self.$at.stable_mut_ptr(), total);)*
            }
            fn total_room(&self) -> usize {
                0 $(+ self.$at.bytes_total())*
            }
            unsafe fn set_init_total(&mut self, mut n: usize) {
                // SAFETY: the caller's, in order.
                $(unsafe { set_share(&mut self.$at, &mut n) };)*
            }
        }
    };
}

tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);

/// The `iovec`s of an operation. They live in it, or on the heap, and are built once it does not move.
#[derive(Debug)]
pub(crate) struct IoVecs<const N: usize = INLINE> {
    inline: [iovec; N],
    more: Vec<iovec>,
    len: usize,
}

impl<const N: usize> IoVecs<N> {
    pub(crate) fn new() -> IoVecs<N> {
        let none = iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        IoVecs {
            inline: [none; N],
            more: Vec::new(),
            len: 0,
        }
    }

    fn push(&mut self, vec: iovec) {
        if self.len < N {
            self.inline[self.len] = vec;
        } else {
            if self.more.is_empty() {
                self.more.extend_from_slice(&self.inline);
            }
            self.more.push(vec);
        }
        self.len += 1;
    }

    /// The vectors of what `bufs` holds.
    pub(crate) fn of<B: IoVectoredBuf>(&mut self, bufs: &B) -> (*mut iovec, usize) {
        self.len = 0;
        self.more.clear();
        bufs.each(&mut |ptr, len| {
            self.push(iovec {
                iov_base: ptr.cast_mut().cast(),
                iov_len: len,
            });
        });
        self.parts()
    }

    /// The vectors of the room `bufs` has.
    pub(crate) fn of_mut<B: IoVectoredBufMut>(&mut self, bufs: &mut B) -> (*mut iovec, usize) {
        self.len = 0;
        self.more.clear();
        bufs.each_mut(&mut |ptr, len| {
            self.push(iovec {
                iov_base: ptr.cast(),
                iov_len: len,
            });
        });
        self.parts()
    }

    fn parts(&mut self) -> (*mut iovec, usize) {
        let ptr = if self.len <= N {
            self.inline.as_mut_ptr()
        } else {
            self.more.as_mut_ptr()
        };
        (ptr, self.len)
    }
}

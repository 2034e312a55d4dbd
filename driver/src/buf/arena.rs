//! Memory that rings know, lent out as buffers.
//!
//! A [`Region`] is the memory of one [`Arena`]. A ring that it is registered with has its pages pinned and mapped, so
//! that a read into it needs neither: `IORING_OP_READ_FIXED` instead of `IORING_OP_READ`. Whether an operation can be had
//! so is decided when it is placed, by the ring it is placed on ([`Region::index_on`]); to any other ring the region is
//! memory as any other.
//!
//! Who owns what: the arena and each of its buffers hold the region. The last of them frees the memory and has the rings
//! forget it. A buffer in flight is in its slot, so by then no operation names it, and nobody can: the index a ring gave
//! it is known to the region alone. The kernel keeps the pages themselves until the ring has forgotten them.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{AlignedBuf, IoBuf, IoBufMut};
use crate::current;
use crate::unpark::Remote;

/// Where buffers begin, and what their sizes are multiples of: enough for any `O_DIRECT`.
const PAGE: usize = 4096;
/// So many rings know a region at most.
const RINGS: usize = 16;

/// Memory registered with the ring, from which buffers are lent.
///
/// Reads and writes of files at offsets ([`Read::at`](crate::op::Read::at), [`Write::at`](crate::op::Write::at) and
/// kin) that are given such a buffer, or a [slice](super::IoBufExt::slice) of one, go as `IORING_OP_READ_FIXED` and
/// `IORING_OP_WRITE_FIXED` on a ring that knows the memory: the kernel need not look its pages up and hold on to them each
/// time. That saves about a tenth of an `O_DIRECT` read of 4 KiB, less of one from memory; nothing on the ring in user
/// space, which only looks whether the memory is known. Elsewhere (other operations, other threads' rings, where
/// registering was refused) it is a buffer like any other, with the same results.
///
/// Cloning gives another handle to the same memory, which is freed when the last handle and the last buffer are gone. Both
/// may outlive the runtime.
///
/// # Examples
///
/// ```
/// use annulet_driver::buf::Arena;
/// // Outside a runtime nothing is registered.
/// let arena = Arena::new(2, 4096);
/// let (mut one, two) = (arena.buffer().unwrap(), arena.buffer().unwrap());
/// assert!(arena.buffer().is_none());
/// one.set_len(3);
/// one.copy_from_slice(b"abc");
/// drop(two);
/// assert!(arena.buffer().is_some());
/// assert!(!arena.is_registered());
/// ```
#[derive(Clone, Debug)]
pub struct Arena {
    region: Arc<Region>,
}

impl Arena {
    /// Memory for `count` buffers of `size` bytes, rounded up to a multiple of 4,096; zeroed. It is registered with
    /// this thread's runtime, if there is one and that can be had: see [`register`](Arena::register).
    ///
    /// # Panics
    ///
    /// If it would be larger than memory can be.
    pub fn new(count: usize, size: usize) -> Arena {
        let size = size.max(1).next_multiple_of(PAGE);
        let all = count
            .checked_mul(size)
            .expect("an arena larger than memory can be");
        let count = u32::try_from(count).expect("an arena of more than 2^32 buffers");
        let region = Region {
            memory: AlignedBuf::with_capacity(all),
            size,
            // The first comes first, and so does what was given back last.
            free: Mutex::new((0..count).rev().collect()),
            known: [const { AtomicU64::new(0) }; RINGS],
            rings: Mutex::default(),
        };
        let arena = Arena {
            region: Arc::new(region),
        };
        // Without, it is slower and nothing else; `is_registered` tells.
        let _ = arena.register();
        arena
    }

    /// Registers the memory with the ring of this thread's runtime, too (`IORING_REGISTER_BUFFERS2`, Linux 5.19), for
    /// as long as both are there. A plain system call, which pins the pages: some 0.1 ms a MiB. Done twice, it is done
    /// once.
    ///
    /// # Errors
    ///
    /// `OutOfMemory` if that is more than `RLIMIT_MEMLOCK` allows who has not `CAP_IPC_LOCK`; `Unsupported` outside a
    /// runtime, on an older kernel's ring, and where it is turned off; `QuotaExceeded` if a
    /// ring knows 64 arenas already, or 16 rings this one; what the kernel says of an arena of more than 1 GiB. The
    /// arena then works as before.
    pub fn register(&self) -> io::Result<()> {
        match current::try_driver() {
            Some(driver) => driver.register_region(&self.region),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether the ring of this thread's runtime knows the memory.
    pub fn is_registered(&self) -> bool {
        current::try_driver().is_some_and(|driver| self.region.index_on(driver.id()).is_some())
    }

    /// Lends a buffer: empty, with room for the [size](Arena::size). What was in it before is there still if its length
    /// is set. It is given back by dropping it. `None`: all are lent.
    pub fn buffer(&self) -> Option<ArenaBuf> {
        let index = self.region.free().pop()?;
        Some(ArenaBuf {
            region: self.region.clone(),
            index,
            len: 0,
        })
    }

    /// How many bytes there are in a buffer.
    pub fn size(&self) -> usize {
        self.region.size
    }
}

/// The memory of an arena, and which rings know it.
pub struct Region {
    memory: AlignedBuf<PAGE>,
    size: usize,
    free: Mutex<Vec<u32>>,
    /// Of each ring that knows it: the driver's number in the upper half, one more than the index below. Filled in from
    /// the front.
    known: [AtomicU64; RINGS],
    rings: Mutex<Vec<Remote>>,
}

impl Region {
    fn free(&self) -> MutexGuard<'_, Vec<u32>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index by which driver `id`'s ring knows it.
    #[inline]
    pub(crate) fn index_on(&self, id: u32) -> Option<u16> {
        for known in &self.known {
            // Who asks for its own number wrote it.
            let known = known.load(Relaxed);
            if known >> 32 == u64::from(id) {
                return Some((known as u16).wrapping_sub(1));
            }
            if known == 0 {
                break;
            }
        }
        None
    }

    /// Makes the ring of driver `remote` one that knows it, by the index that `register` returns.
    ///
    /// # Errors
    ///
    /// Those of `register`; there are too many of such rings.
    pub(crate) fn known_to(
        &self,
        remote: &Remote,
        register: impl FnOnce(*const u8, usize) -> io::Result<u16>,
    ) -> io::Result<()> {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = self.known.get(rings.len()) else {
            return Err(io::ErrorKind::QuotaExceeded.into());
        };
        let index = register(self.memory.stable_ptr(), self.memory.capacity())?;
        rings.push(remote.clone());
        let known_as = u64::from(remote.id()) << 32 | (u64::from(index) + 1);
        known.store(known_as, Release);
        Ok(())
    }

    /// Of the buffer `index`.
    fn at(&self, index: u32) -> *mut u8 {
        let offset = index as usize * self.size;
        self.memory.stable_ptr().wrapping_add(offset).cast_mut()
    }
}

impl Drop for Region {
    /// No operation names it any more, so the rings may forget it at any time.
    fn drop(&mut self) {
        let rings = self.rings.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (remote, known) in rings.iter().zip(&self.known) {
            let index = (known.load(Acquire) as u16).wrapping_sub(1);
            match current::try_driver() {
                Some(driver) if driver.id() == remote.id() => driver.forget_region(index),
                _ => remote.forget_region(index),
            }
        }
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("bytes", &self.memory.capacity())
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// A buffer of an [`Arena`]'s; dropping it gives it back.
///
/// Like an [`AlignedBuf`] it has a length, which is what is written from it, and a capacity, which is what is read into
/// it; it does not grow, and all of it is initialised. It begins at a multiple of 4,096 bytes.
pub struct ArenaBuf {
    region: Arc<Region>,
    index: u32,
    len: usize,
}

impl ArenaBuf {
    /// How many bytes there is room for.
    pub fn capacity(&self) -> usize {
        self.region.size
    }

    /// Makes it `len` bytes long: shows what was there before, perhaps of its last borrower's.
    ///
    /// # Panics
    ///
    /// If there is no room for so many.
    pub fn set_len(&mut self, len: usize) {
        let capacity = self.capacity();
        assert!(
            len <= capacity,
            "{len} bytes in a buffer with room for {capacity}"
        );
        self.len = len;
    }
}

impl Deref for ArenaBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: within the region's memory, which this holds, and all of which is initialised; this part of it is lent
        // to this buffer alone.
        unsafe { std::slice::from_raw_parts(self.region.at(self.index), self.len) }
    }
}

impl DerefMut for ArenaBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.region.at(self.index), self.len) }
    }
}

impl Drop for ArenaBuf {
    fn drop(&mut self) {
        self.region.free().push(self.index);
    }
}

impl fmt::Debug for ArenaBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArenaBuf")
            .field("index", &self.index)
            .field("len", &self.len)
            .field("capacity", &self.capacity())
            .finish()
    }
}

// SAFETY: the memory is on the heap, does not move, lives as long as any buffer of it, and is all initialised; what lies
// at the buffer's index is its own until it is dropped.
unsafe impl IoBuf for ArenaBuf {
    fn stable_ptr(&self) -> *const u8 {
        self.region.at(self.index)
    }

    fn bytes_init(&self) -> usize {
        self.len
    }

    fn region(&self) -> Option<&Region> {
        Some(&self.region)
    }
}

// SAFETY: as above; up to the capacity it is writable.
unsafe impl IoBufMut for ArenaBuf {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.region.at(self.index)
    }

    fn bytes_total(&self) -> usize {
        self.capacity()
    }

    unsafe fn set_init(&mut self, n: usize) {
        self.set_len(n);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use rustix::mm::MprotectFlags;

    use super::*;
    use crate::buf::IoBufExt;
    use crate::op::{Read, ReadExact};
    use crate::{Driver, DriverKind, Fd, Op, Setup, Wait};

    #[test]
    fn every_buffer_has_memory_of_its_own_and_what_was_given_back_last_is_lent_first() {
        let arena = Arena::new(4, 5000);
        assert_eq!(arena.size(), 8192);
        let mut all: Vec<_> = std::iter::from_fn(|| arena.buffer()).collect();
        assert_eq!(all.len(), 4);
        for (n, buf) in all.iter_mut().enumerate() {
            assert_eq!(buf.stable_ptr().addr() % PAGE, 0);
            assert!(buf.is_empty());
            buf.set_len(8192);
            assert!(buf.iter().all(|byte| *byte == 0));
            buf.fill(n as u8);
        }
        for (n, buf) in all.iter().enumerate() {
            assert!(buf.iter().all(|byte| *byte == n as u8));
        }
        let third = all.swap_remove(2);
        let at = third.stable_ptr();
        drop((all.swap_remove(0), third));
        assert_eq!(arena.buffer().map(|buf| buf.stable_ptr()), Some(at));
    }

    #[test]
    fn buffers_outlive_their_arena() {
        let arena = Arena::new(1, 1);
        let mut buf = arena.buffer().unwrap();
        drop(arena);
        buf.set_len(4096);
        buf.fill(7);
    }

    /// Runs an operation to its end.
    fn finish<T: crate::op::Operation>(driver: &Driver, mut op: Op<T>) -> T::Output {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(output) = Pin::new(&mut op).poll(&mut cx) {
                return output;
            }
            driver.turn(Wait::AtMost(None)).unwrap();
        }
    }

    fn kernels_ring(setup: Setup) -> Option<Driver> {
        let driver = DriverKind::Kernel;
        Driver::new(&Setup { driver, ..setup }).ok()
    }

    /// Who may not be written to by way of its address is written to by a ring that knows its pages.
    #[test]
    fn reads_into_memory_that_the_ring_knows_do_not_go_by_its_address() {
        for plain in [false, true] {
            // A call would go by the address.
            let setup = Setup {
                plain,
                attempts: false,
                ..Setup::default()
            };
            let Some(driver) = kernels_ring(setup) else {
                return;
            };
            let _entered = driver.enter();
            let file = Fd::new(std::fs::File::open("/proc/self/exe").unwrap().into());
            let arena = Arena::new(2, PAGE);
            assert!(arena.is_registered());
            for begin in [0, 100] {
                for exact in [false, true] {
                    let mut buf = arena.buffer().unwrap();
                    buf.set_len(PAGE);
                    let protect = |flags| {
                        let at = buf.region.at(buf.index);
                        // SAFETY: the page is the buffer's, and nothing is made of its bytes while it is protected.
                        unsafe { rustix::mm::mprotect(at.cast(), PAGE, flags) }.unwrap();
                    };
                    protect(MprotectFlags::empty());
                    let part = buf.slice(begin..);
                    let (read, part) = if exact {
                        let (read, part) = finish(&driver, Op::on(&file, ReadExact::at(part, 0)));
                        (read.map(|()| PAGE - begin), part)
                    } else {
                        finish(&driver, Op::on(&file, Read::at(part, 0)))
                    };
                    let buf = part.into_inner();
                    let at = buf.region.at(buf.index);
                    // SAFETY: as above.
                    unsafe {
                        let all = MprotectFlags::READ | MprotectFlags::WRITE;
                        rustix::mm::mprotect(at.cast(), PAGE, all).unwrap();
                    }
                    assert_eq!(read.unwrap(), PAGE - begin);
                    assert_eq!(buf[begin..begin + 4], *b"\x7fELF");
                }
            }
            drop(file);
            driver.shutdown(std::time::Duration::from_secs(10));
        }
    }

    #[test]
    fn an_operation_in_flight_keeps_the_memory_and_the_ring_forgets_it_with_the_last() {
        let Some(driver) = kernels_ring(Setup::default()) else {
            return;
        };
        let _entered = driver.enter();
        let (reader, _writer) = io::pipe().unwrap();
        let reader = Fd::new(reader.into());
        let arena = Arena::new(1, PAGE);
        let region = Arc::downgrade(&arena.region);
        let mut read = Op::on(&reader, Read::new(arena.buffer().unwrap()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut read).poll(&mut cx).is_pending());
        driver.turn(Wait::No).unwrap();
        drop((read, arena));
        driver.turn(Wait::No).unwrap();
        assert!(region.upgrade().is_some());
        drop(reader);
        while driver.metrics().in_flight > 0 {
            driver.turn(Wait::AtMost(None)).unwrap();
        }
        assert!(region.upgrade().is_none());
        // As often as rows are taken they are given back.
        for _ in 0..1000 {
            assert!(Arena::new(1, 1).is_registered());
        }
        assert!(driver.shutdown(std::time::Duration::from_secs(10)));
    }

    #[test]
    fn a_region_is_known_by_the_index_of_each_ring_and_no_others() {
        let arena = Arena::new(1, 1);
        let region = &arena.region;
        for id in 1..=RINGS as u32 {
            let remote = Remote::new(id, None).unwrap();
            let index = 3 * id as u16;
            region.known_to(&remote, |_, _| Ok(index)).unwrap();
            assert_eq!(region.index_on(id), Some(index));
        }
        assert_eq!(region.index_on(RINGS as u32 + 1), None);
        let remote = Remote::new(99, None).unwrap();
        let refused = region.known_to(&remote, |_, _| Ok(0)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
        assert_eq!(region.index_on(99), None);
    }
}

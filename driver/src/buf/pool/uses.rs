//! Who has which part of a buffer, where buffers are consumed by and by (`IOU_PBUF_RING_INC`).
//!
//! The kernel fills a published buffer from its beginning, message by message. What each completion brings starts where the
//! one before it ended: so completions are counted in the order in which they were reaped, and each is told then where its
//! bytes are, in that half of its flags where the kernel had named the buffer. A chunk is a slice of a buffer, and no two
//! overlap: the kernel writes behind what it has told of only.
//!
//! A buffer is free again when the kernel is done with it and the last slice of it is given back.

use io_uring::cqueue;

use crate::ring::{Completion, PICKED};

/// The most bytes of a buffer, and the most buffers: so a place has 28 bits.
pub(super) const BYTES: usize = 1 << 16;
pub(super) const BUFFERS: usize = 1 << 12;
/// What of a completion's flags still tells something when its buffer is known.
const FLAGS: u32 = 0xf;

/// Where bytes are: in which buffer, and from where on.
pub(super) type Place = (u16, u16);

/// What [`pick`] made of a completion's flags.
#[inline]
pub(super) fn place(flags: u32) -> Place {
    ((flags >> 20) as u16, (flags >> 4) as u16)
}

/// One buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Use {
    /// Bytes of it that the kernel has filled.
    filled: u32,
    /// Chunks that have a part of it, and completions that will be one.
    slices: u32,
    /// The kernel may fill what is left.
    published: bool,
}

impl Use {
    /// It is with the kernel, empty.
    pub(super) fn publish(&mut self) {
        (self.filled, self.published) = (0, true);
    }

    /// The kernel will fill no more of it. Whether it is free now.
    pub(super) fn unpublish(&mut self) -> bool {
        self.published = false;
        self.slices == 0
    }

    /// A slice more.
    pub(super) fn lend(&mut self) {
        self.slices += 1;
    }

    /// A slice less. Whether it is free now.
    #[inline]
    pub(super) fn give_back(&mut self) -> bool {
        self.slices -= 1;
        self.slices == 0 && !self.published
    }

    pub(super) fn is_lent(&self) -> bool {
        self.slices > 0
    }
}

/// Notes a completion that names a buffer of `size` bytes, and tells it where its bytes are. Which buffer the kernel is
/// done with by that, and whether it is free.
#[inline]
pub(super) fn pick(
    uses: &mut [Use],
    size: usize,
    completion: &mut Completion,
) -> Option<(u16, bool)> {
    let index = completion.picked()?;
    // A receive that failed has filled nothing, and will be no chunk.
    let len = usize::try_from(completion.result).ok();
    let used = uses
        .get_mut(usize::from(index))
        .filter(|used| used.published && (used.filled as usize) < size)
        .filter(|used| used.filled as usize + len.unwrap_or(0) <= size);
    let Some(used) = used else {
        // There is no such buffer, or not so much of it: who asks for the chunk is told.
        completion.flags &= !PICKED;
        return None;
    };
    let leaves = cqueue::buffer_more(completion.flags);
    completion.flags = completion.flags & FLAGS | used.filled << 4 | u32::from(index) << 20;
    if let Some(len) = len {
        used.filled += len as u32;
        used.slices += 1;
    }
    (!leaves).then(|| (index, used.unpublish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 100;
    const MORE: u32 = 1 << 1;
    const BUF_MORE: u32 = 1 << 4;

    fn says(result: i32, index: u16, flags: u32) -> Completion {
        Completion {
            user_data: 7,
            result,
            flags: u32::from(index) << 16 | PICKED | flags,
        }
    }

    fn published(count: usize) -> Vec<Use> {
        let mut uses = vec![Use::default(); count];
        uses.iter_mut().for_each(Use::publish);
        uses
    }

    #[test]
    fn a_part_begins_where_the_one_before_it_ended() {
        let mut uses = published(BUFFERS);
        let last = BUFFERS as u16 - 1;
        for (len, at) in [(10, 0), (20, 10), (1, 30)] {
            let mut completion = says(len, last, MORE | BUF_MORE);
            assert_eq!(pick(&mut uses, SIZE, &mut completion), None);
            assert_eq!(place(completion.flags), (last, at));
            assert!(completion.more() && completion.picked().is_some());
            assert!(!completion.is_notification());
        }
        let mut completion = says(69, last, 0);
        assert_eq!(pick(&mut uses, SIZE, &mut completion), Some((last, false)));
        assert_eq!(place(completion.flags), (last, 31));
        assert!(!completion.more());
    }

    #[test]
    fn a_buffer_is_free_when_the_kernel_is_done_and_all_parts_are_back() {
        let mut uses = published(1);
        for _ in 0..2 {
            pick(&mut uses, SIZE, &mut says(40, 0, BUF_MORE));
        }
        // Both are back, but the kernel is not done.
        assert!(!uses[0].give_back() && !uses[0].give_back());
        assert!(!uses[0].is_lent());
        let done = pick(&mut uses, SIZE, &mut says(20, 0, 0));
        assert_eq!(done, Some((0, false)));
        assert!(uses[0].is_lent() && uses[0].give_back());
    }

    #[test]
    fn a_receive_that_failed_has_no_part() {
        let mut uses = published(1);
        let told = pick(&mut uses, SIZE, &mut says(-libc::ECONNRESET, 0, BUF_MORE));
        assert_eq!((told, uses[0].is_lent()), (None, false));
        // Nobody will give it back.
        let told = pick(&mut uses, SIZE, &mut says(-libc::ECONNRESET, 0, 0));
        assert_eq!(told, Some((0, true)));
    }

    #[test]
    fn what_the_kernel_cannot_have_filled_is_no_part() {
        let mut uses = published(2);
        uses[1] = Use::default();
        pick(&mut uses, SIZE, &mut says(60, 0, BUF_MORE));
        for (len, index) in [(41, 0), (10, 1), (10, 2)] {
            let mut completion = says(len, index, MORE);
            assert_eq!(pick(&mut uses, SIZE, &mut completion), None);
            // It goes on: its slot must not take this for the last.
            assert_eq!((completion.picked(), completion.more()), (None, true));
        }
    }
}

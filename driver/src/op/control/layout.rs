//! How control data lies in memory: messages, each behind a header, at the kernel's alignment.

use std::ops::Range;
use std::os::fd::RawFd;

use libc::{SCM_RIGHTS, SOL_SOCKET};

use super::{Control, SCM_PIDFD};

pub(super) const FD: usize = size_of::<RawFd>();

/// The kernel's alignment of a header, and of what follows the data.
pub(super) const fn align(len: usize) -> usize {
    len.next_multiple_of(size_of::<usize>())
}

/// The header of a message: `size_t cmsg_len; int cmsg_level, cmsg_type`. The kernel's, not a C library's.
pub(super) const LEVEL_AT: usize = size_of::<usize>();
const KIND_AT: usize = LEVEL_AT + size_of::<i32>();
pub(super) const HEADER: usize = align(KIND_AT + size_of::<i32>());

/// Where a message is.
pub(super) struct Place {
    pub(super) level: i32,
    pub(super) kind: i32,
    pub(super) data: Range<usize>,
}

impl Place {
    pub(super) fn holds_fds(&self) -> bool {
        self.level == SOL_SOCKET && matches!(self.kind, SCM_RIGHTS | SCM_PIDFD)
    }

    /// Where its descriptors' numbers are.
    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> + use<> {
        let (start, count) = (self.data.start, self.data.len() / FD);
        (0..count).map(move |at| start + at * FD)
    }
}

impl Control {
    pub(super) fn words(&self) -> &[u64] {
        if self.more.is_empty() {
            &self.inline
        } else {
            &self.more
        }
    }

    pub(super) fn words_mut(&mut self) -> &mut [u64] {
        if self.more.is_empty() {
            &mut self.inline
        } else {
            &mut self.more
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        let words = self.words();
        debug_assert!(self.len <= size_of_val(words));
        // SAFETY: words are initialised bytes, and `len` is within them: `put` and `filled` see to that.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), self.len) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        // SAFETY: as above, borrowed mutably; any bytes make words.
        unsafe { std::slice::from_raw_parts_mut(self.words_mut().as_mut_ptr().cast(), len) }
    }

    pub(super) fn grow(&mut self, room: usize) {
        let words = room.div_ceil(size_of::<u64>());
        if words > self.words().len() {
            if self.more.is_empty() {
                self.more.extend_from_slice(&self.inline);
            }
            self.more.resize(words, 0);
        }
    }

    /// Appends a message and tells where its data is.
    pub(super) fn put(&mut self, level: i32, kind: i32, data: &[u8]) -> usize {
        let (before, start) = (self.len, self.len + HEADER);
        self.grow(start + align(data.len()));
        self.len = start + align(data.len());
        let message = &mut self.bytes_mut()[before..];
        message.fill(0);
        message[..LEVEL_AT].copy_from_slice(&(HEADER + data.len()).to_ne_bytes());
        message[LEVEL_AT..KIND_AT].copy_from_slice(&level.to_ne_bytes());
        message[KIND_AT..HEADER].copy_from_slice(&kind.to_ne_bytes());
        message[HEADER..HEADER + data.len()].copy_from_slice(data);
        start
    }

    pub(super) fn int(&self, at: usize) -> i32 {
        let int = self.bytes()[at..].first_chunk();
        i32::from_ne_bytes(*int.expect("within the control data"))
    }

    /// Where the messages are. What is no whole message ends them.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let rest = self.bytes().get(at..)?;
            if rest.len() < HEADER {
                return None;
            }
            let len = usize::from_ne_bytes(*rest.first_chunk()?);
            if len < HEADER || len > rest.len() {
                return None;
            }
            let place = Place {
                level: self.int(at + LEVEL_AT),
                kind: self.int(at + KIND_AT),
                data: at + HEADER..at + len,
            };
            at += align(len);
            Some(place)
        })
    }
}

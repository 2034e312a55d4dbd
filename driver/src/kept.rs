//! What arrived for a future that was gone: bytes, connections, an error.
//!
//! Owned by the descriptor ([`crate::fd`]), filled when an orphaned read or accept completes, emptied by
//! the next one, in order of arrival.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use socket2::SockAddr;

/// Memory above this is given back once it is read out.
const SPARE: usize = 64 * 1024;

/// What arrived for futures that were dropped, in order of arrival.
#[derive(Debug, Default)]
pub struct Kept {
    bytes: Vec<u8>,
    taken: usize,
    sockets: VecDeque<(OwnedFd, Option<SockAddr>)>,
    error: Option<i32>,
    ended: bool,
}

impl Kept {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty() && self.sockets.is_empty() && self.error.is_none() && !self.ended
    }

    /// The bytes nobody has read yet.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// The connections nobody has taken yet.
    pub fn sockets(&mut self) -> impl Iterator<Item = (OwnedFd, Option<SockAddr>)> + '_ {
        self.sockets.drain(..)
    }

    /// Takes what of all this is a stream's: the bytes, and the error that came after them. The end of a stream
    /// is not among it: the descriptor itself goes on saying so.
    pub fn into_stream(mut self) -> (Vec<u8>, Option<std::io::Error>) {
        self.bytes.drain(..self.taken);
        let error = self.error.map(std::io::Error::from_raw_os_error);
        (self.bytes, error)
    }

    pub(crate) fn clear(&mut self) {
        *self = Kept {
            bytes: std::mem::take(&mut self.bytes),
            ..Kept::default()
        };
        self.consume(self.bytes.len());
    }

    pub(crate) fn put_bytes(&mut self, bytes: &[u8]) {
        // The end of a stream is read as zero bytes.
        self.ended |= bytes.is_empty();
        self.bytes.extend_from_slice(bytes);
    }

    /// As [`put_bytes`](Kept::put_bytes), a part at a time; [`end_pieces`](Kept::end_pieces) follows.
    pub(crate) fn put_piece(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// All `total` bytes of a read have been put.
    pub(crate) fn end_pieces(&mut self, total: usize) {
        self.ended |= total == 0;
    }

    pub(crate) fn put_socket(&mut self, socket: OwnedFd, peer: Option<SockAddr>) {
        self.sockets.push_back((socket, peer));
    }

    pub(crate) fn put_error(&mut self, errno: i32) {
        self.error.get_or_insert(errno);
    }

    pub(crate) fn take_socket(&mut self) -> Option<(OwnedFd, Option<SockAddr>)> {
        self.sockets.pop_front()
    }

    /// Marks `n` bytes as read.
    pub(crate) fn consume(&mut self, n: usize) {
        self.taken += n;
        if self.taken >= self.bytes.len() {
            self.taken = 0;
            self.bytes.clear();
            self.bytes.shrink_to(SPARE);
        }
    }

    /// The error, once the bytes before it are read out.
    pub(crate) fn take_error(&mut self) -> Option<i32> {
        if self.bytes().is_empty() {
            self.error.take()
        } else {
            None
        }
    }

    /// Whether the stream ended here; says so once.
    pub(crate) fn take_end(&mut self) -> bool {
        self.bytes().is_empty() && std::mem::take(&mut self.ended)
    }
}

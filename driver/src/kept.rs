//! What arrived for a future that was gone: bytes, messages, connections, an error.
//!
//! Owned by the descriptor ([`crate::fd`]), filled when an orphaned read or accept completes, emptied by
//! the next one, in order of arrival.
//!
//! What a stream brings is bytes, one after the other. A message is kept whole where it must stay so: on a socket
//! with boundaries (datagram, seqpacket), and on a stream if control data came with it.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use socket2::SockAddr;

use crate::op::Control;

/// Memory above this is given back once it is read out.
const SPARE: usize = 64 * 1024;

/// What arrived for futures that were dropped, in order of arrival.
#[derive(Debug, Default)]
pub struct Kept {
    bytes: Vec<u8>,
    taken: usize,
    /// What came after the bytes and cannot be put behind them.
    messages: VecDeque<KeptMessage>,
    sockets: VecDeque<(OwnedFd, Option<SockAddr>)>,
    error: Option<i32>,
    ended: bool,
    /// Whether messages have boundaries here; unknown before something is kept.
    pub(crate) bounded: Option<bool>,
}

/// A message that arrived for a receive whose future was dropped.
#[derive(Debug, Default)]
pub struct KeptMessage {
    /// Its bytes, as many as the dropped receive had room for.
    pub bytes: Vec<u8>,
    /// The sender, if the dropped receive asked for it.
    pub peer: Option<SockAddr>,
    /// `MSG_*` flags of the message.
    pub flags: i32,
    /// Its control data, with its descriptors.
    pub control: Control,
}

impl Kept {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.front().is_none() && self.sockets.is_empty() && self.error.is_none() && !self.ended
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
    /// is not among it: the descriptor itself goes on saying so. Descriptors among it are closed.
    pub fn into_stream(self) -> (Vec<u8>, Option<std::io::Error>) {
        let (messages, error) = self.into_messages();
        let mut bytes = Vec::new();
        for message in messages {
            if bytes.is_empty() {
                bytes = message.bytes;
            } else {
                bytes.extend(message.bytes);
            }
        }
        (bytes, error)
    }

    /// Takes all messages, and the error that came after them. Bytes of a stream count as one.
    pub fn into_messages(mut self) -> (Vec<KeptMessage>, Option<std::io::Error>) {
        self.bytes.drain(..self.taken);
        let plain = (!self.bytes.is_empty()).then(|| KeptMessage {
            bytes: self.bytes,
            ..KeptMessage::default()
        });
        let error = self.error.map(std::io::Error::from_raw_os_error);
        (plain.into_iter().chain(self.messages).collect(), error)
    }

    pub(crate) fn clear(&mut self) {
        *self = Kept {
            bytes: std::mem::take(&mut self.bytes),
            ..Kept::default()
        };
        self.consume(self.bytes.len());
    }

    // --- putting --------------------------------------------------------------------------------

    /// Bytes of a stream that were taken and not used: they come before all else.
    pub(crate) fn put_back(&mut self, bytes: &[u8]) {
        self.bytes
            .splice(self.taken..self.taken, bytes.iter().copied());
    }

    /// What a read brought; nothing is the end of a stream, but a message like any other where there are
    /// boundaries.
    pub(crate) fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_piece(bytes);
        self.end_pieces(bytes.len());
    }

    /// As [`put_bytes`](Kept::put_bytes), a part at a time; [`end_pieces`](Kept::end_pieces) follows.
    pub(crate) fn put_piece(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// All `total` bytes of a read have been put.
    pub(crate) fn end_pieces(&mut self, total: usize) {
        self.end_message(total, KeptMessage::default());
    }

    /// All `total` bytes of a message have been put; `message` is what else there is to it.
    pub(crate) fn end_message(&mut self, total: usize, message: KeptMessage) {
        let bounded = self.bounded == Some(true);
        self.ended |= total == 0 && !bounded;
        // Control data, or the word that some was cut off, goes with these bytes and no others.
        let tells = !message.control.is_empty() || message.flags & libc::MSG_CTRUNC != 0;
        let apart = !self.messages.is_empty() || tells;
        if bounded || (apart && total > 0) {
            let bytes = self.bytes.split_off(self.bytes.len() - total);
            self.messages.push_back(KeptMessage { bytes, ..message });
        }
    }

    pub(crate) fn put_socket(&mut self, socket: OwnedFd, peer: Option<SockAddr>) {
        self.sockets.push_back((socket, peer));
    }

    pub(crate) fn put_error(&mut self, errno: i32) {
        self.error.get_or_insert(errno);
    }

    // --- taking ---------------------------------------------------------------------------------

    pub(crate) fn take_socket(&mut self) -> Option<(OwnedFd, Option<SockAddr>)> {
        self.sockets.pop_front()
    }

    /// What the next receive is given from: bytes of a stream, or one message.
    pub(crate) fn front(&self) -> Option<&[u8]> {
        if self.taken < self.bytes.len() {
            return Some(self.bytes());
        }
        self.messages.front().map(|message| &message.bytes[..])
    }

    /// What [`front`](Kept::front) is, besides its bytes.
    pub(crate) fn front_message(&self) -> Option<&KeptMessage> {
        match self.messages.front() {
            Some(message) if self.taken == self.bytes.len() => Some(message),
            _ => None,
        }
    }

    /// Takes `n` bytes of [`front`](Kept::front), and what came with them. A message that has boundaries goes as
    /// a whole, however little of it is taken.
    pub(crate) fn take(&mut self, n: usize) -> KeptMessage {
        if self.taken < self.bytes.len() {
            self.consume(n);
            return KeptMessage::default();
        }
        let bounded = self.bounded == Some(true);
        let Some(message) = self.messages.front_mut() else {
            return KeptMessage::default();
        };
        if bounded || (n > 0 && n >= message.bytes.len()) {
            return self.messages.pop_front().unwrap_or_default();
        }
        if n == 0 {
            return KeptMessage::default();
        }
        // What came beside a stream's bytes goes with the first of them.
        message.bytes.drain(..n);
        KeptMessage {
            bytes: Vec::new(),
            peer: message.peer.clone(),
            flags: message.flags,
            control: std::mem::take(&mut message.control),
        }
    }

    /// Marks `n` bytes as read.
    fn consume(&mut self, n: usize) {
        self.taken += n;
        if self.taken >= self.bytes.len() {
            self.taken = 0;
            self.bytes.clear();
            self.bytes.shrink_to(SPARE);
        }
    }

    /// The error, once all before it is read out.
    pub(crate) fn take_error(&mut self) -> Option<i32> {
        if self.front().is_none() {
            self.error.take()
        } else {
            None
        }
    }

    /// Whether the stream ended here; says so once.
    pub(crate) fn take_end(&mut self) -> bool {
        self.front().is_none() && std::mem::take(&mut self.ended)
    }
}

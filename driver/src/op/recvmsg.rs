//! `IORING_OP_RECVMSG`: `recvmsg(2)`, with the sender's address and control data.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::os::unix::net;
use std::ptr;

use io_uring::{opcode, squeue, types};
use socket2::{SockAddr, SockAddrStorage};

use super::read::serve_end;
use super::readv::{fill_pieces, filled_total, pieces};
use super::recv::{RecvFlags, zero_if_truncating};
use super::{Control, OnDrop, Operation, Origin, Success};
use crate::buf::{IoBufMut, IoVecs, IoVectoredBufMut, refuse_empty};
use crate::fd::Lane;
use crate::kept::{Kept, KeptMessage};
use crate::unix_addr::unix_addr;

/// Receives a message into several buffers, with its sender and its control data.
///
/// Receives on one socket follow one another; what a dropped one brings is kept for the next, with sender,
/// flags and control data: as much of the message as the dropped one had room for.
pub struct RecvMsg<B> {
    all: Receive<B>,
}

impl<B: IoVectoredBufMut> RecvMsg<B> {
    /// With `MSG_*` flags, as `recvmsg(2)` has them.
    pub fn new(bufs: B, flags: i32) -> RecvMsg<B> {
        RecvMsg {
            all: Receive::new(bufs, flags),
        }
    }

    /// With `room` bytes of room for control data: see [`Control::room`] and [`Control::room_for_fds`]. Without, none
    /// is received, and descriptors that were sent are closed by the kernel.
    pub fn with_control(mut self, room: usize) -> RecvMsg<B> {
        self.all.make_room(room);
        self
    }
}

/// Receives a message into one buffer, and tells of it what `R` asks for: see [`Receipt`].
///
/// Otherwise as [`RecvMsg`].
pub struct RecvFrom<B, R> {
    all: Receive<[B; 1], 1>,
    tells: PhantomData<fn() -> R>,
}

impl<B: IoBufMut, R: Receipt> RecvFrom<B, R> {
    /// With `MSG_*` flags, as `recvmsg(2)` has them.
    pub fn new(buf: B, flags: i32) -> RecvFrom<B, R> {
        RecvFrom {
            all: Receive::new([buf], flags),
            tells: PhantomData,
        }
    }

    /// As [`RecvMsg::with_control`].
    pub fn with_control(mut self, room: usize) -> RecvFrom<B, R> {
        self.all.make_room(room);
        self
    }

    /// From a stream: a buffer without room is refused (`InvalidInput`), as what it receives would look like the end.
    pub fn from_stream(mut self) -> RecvFrom<B, R> {
        self.all.is_stream = true;
        self
    }
}

/// What a [`RecvMsg`] received, besides the bytes.
#[derive(Debug)]
pub struct Message {
    /// Bytes received into the buffers. With `MSG_TRUNC` asked for, a datagram's whole length.
    pub len: usize,
    /// The sender; `None` on a connected stream, and for one without a name.
    pub peer: Option<SockAddr>,
    /// `MSG_*` flags of the message: `MSG_TRUNC` if the buffers had no room for all of it, `MSG_CTRUNC` if there was no
    /// room for all control data, or not all its descriptors could be had.
    pub flags: i32,
    /// Control data, descriptors among it.
    pub control: Control,
}

/// What a [`RecvFrom`] tells of a message.
pub trait Receipt: Sized + 'static {
    /// Tells it.
    ///
    /// # Errors
    ///
    /// If the message is not of the kind that was expected.
    fn of(message: Message) -> io::Result<Self>;
}

impl Receipt for Message {
    fn of(message: Message) -> io::Result<Message> {
        Ok(message)
    }
}

impl Receipt for usize {
    fn of(message: Message) -> io::Result<usize> {
        Ok(message.len)
    }
}

impl Receipt for (usize, Option<SockAddr>) {
    fn of(message: Message) -> io::Result<(usize, Option<SockAddr>)> {
        Ok((message.len, message.peer))
    }
}

impl Receipt for (usize, SocketAddr) {
    fn of(message: Message) -> io::Result<(usize, SocketAddr)> {
        let addr = message.peer.as_ref().and_then(SockAddr::as_socket);
        let no_ip = || io::Error::new(io::ErrorKind::InvalidData, "the sender has no IP address");
        Ok((message.len, addr.ok_or_else(no_ip)?))
    }
}

impl Receipt for (usize, net::SocketAddr) {
    /// A sender without a name is unnamed.
    fn of(message: Message) -> io::Result<(usize, net::SocketAddr)> {
        let addr = match &message.peer {
            Some(peer) => unix_addr(peer)?,
            None => net::SocketAddr::from_pathname("")?,
        };
        Ok((message.len, addr))
    }
}

/// A receive on its way: all the memory that the kernel sees.
struct Receive<B, const N: usize = 8> {
    bufs: B,
    vecs: IoVecs<N>,
    name: SockAddrStorage,
    header: libc::msghdr,
    flags: i32,
    control: Control,
    room: usize,
    is_stream: bool,
    /// It was served a kept message: no sender and no flags are the kernel's.
    peer: Option<SockAddr>,
}

impl<B: IoVectoredBufMut, const N: usize> Receive<B, N> {
    fn new(bufs: B, flags: i32) -> Receive<B, N> {
        // SAFETY: a `msghdr` of zeros is valid: null pointers, zero lengths.
        let header = unsafe { mem::zeroed() };
        Receive {
            bufs,
            vecs: IoVecs::new(),
            name: SockAddrStorage::zeroed(),
            header,
            flags,
            control: Control::new(),
            room: 0,
            is_stream: false,
            peer: None,
        }
    }

    fn make_room(&mut self, room: usize) {
        self.control = Control::with_room(room);
        self.room = room;
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let flags = self.flags;
        self.bufs
            .each_mut(&mut |room, len| zero_if_truncating(flags, room, len));
        let (vecs, len) = self.vecs.of_mut(&mut self.bufs);
        self.header.msg_iov = vecs;
        self.header.msg_iovlen = len as _;
        self.header.msg_name = (&raw mut self.name).cast();
        self.header.msg_namelen = self.name.size_of();
        self.header.msg_control = match self.room {
            0 => ptr::null_mut(),
            _ => self.control.raw_parts().0,
        };
        self.header.msg_controllen = self.room as _;
        let flags = (self.flags | libc::MSG_CMSG_CLOEXEC).cast_unsigned();
        opcode::RecvMsg::new(types::Fd(fd), &raw mut self.header)
            .flags(flags)
            .build()
    }

    /// Takes in what the kernel has filled, control data with its descriptors first of all.
    fn arrived(&mut self, success: Success) -> Message {
        let len = success.value as usize;
        // `serve` leaves no length here: its control data is in place already.
        if self.header.msg_controllen > 0 {
            let len: usize = self.header.msg_controllen as _;
            self.control.filled(len.min(self.room));
        }
        let named = self.header.msg_namelen.min(self.name.size_of());
        let name = mem::replace(&mut self.name, SockAddrStorage::zeroed());
        // SAFETY: the kernel has filled in `named` bytes of the storage it was given.
        let named = (named > 0).then(|| unsafe { SockAddr::new(name, named) });
        Message {
            len,
            peer: self.peer.take().or(named),
            flags: self.header.msg_flags & !libc::MSG_CMSG_CLOEXEC,
            control: mem::take(&mut self.control),
        }
    }

    fn complete(mut self, result: io::Result<Success>) -> (io::Result<Message>, B) {
        let result = result.map(|success| {
            let message = self.arrived(success);
            let room = self.bufs.total_room();
            filled_total(&mut self.bufs, message.len.min(room));
            message
        });
        (result, self.bufs)
    }

    fn discard(mut self, result: &io::Result<Success>, origin: Origin<'_>) {
        // First of all, so that its descriptors are owned by somebody.
        let message = result.as_ref().ok().map(|success| self.arrived(*success));
        let flags = RecvFlags(self.flags);
        if !flags.is_in_band() || flags.peeks() {
            return;
        }
        origin.keep_read(result, |kept, n| {
            if let (true, Some(message)) = (flags.is_kept(kept), message) {
                let n = n.min(self.bufs.total_room());
                pieces(&mut self.bufs, n, &mut |piece| kept.put_piece(piece));
                kept.end_message(
                    n,
                    KeptMessage {
                        bytes: Vec::new(),
                        peer: message.peer,
                        flags: message.flags,
                        control: message.control,
                    },
                );
            }
        });
    }

    /// Serves it from what is kept, as the kernel would: whole messages or what there is room for, the rest cut off.
    fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
        let flags = RecvFlags(self.flags);
        if !flags.is_in_band() {
            return None;
        }
        let Some(front) = kept.front() else {
            return if flags.peeks() { None } else { serve_end(kept) };
        };
        let (n, len) = (fill_pieces(&mut self.bufs, front), front.len());
        let answer = flags.answer(n, len, kept);
        let bounded = kept.bounded == Some(true);
        let (message, whole) = if flags.peeks() {
            match kept.front_message() {
                Some(message) => message.duplicate(),
                None => (KeptMessage::default(), true),
            }
        } else {
            (kept.take(n), true)
        };
        let (control, fits) = message.control.cut_to(self.room);
        self.control = control;
        self.peer = message.peer;
        self.header.msg_flags = message.flags;
        if bounded && n < len {
            self.header.msg_flags |= libc::MSG_TRUNC;
        }
        if !(whole && fits) {
            self.header.msg_flags |= libc::MSG_CTRUNC;
        }
        Some(Ok(answer))
    }
}

impl KeptMessage {
    /// What a peek shows besides the bytes; `false`: not all of its descriptors could be duplicated.
    fn duplicate(&self) -> (KeptMessage, bool) {
        let (control, whole) = self.control.duplicate();
        let copy = KeptMessage {
            bytes: Vec::new(),
            peer: self.peer.clone(),
            flags: self.flags,
            control,
        };
        (copy, whole)
    }
}

/// Both operations are a [`Receive`]; only what they tell differs.
macro_rules! receives {
    () => {
        const OPCODE: u8 = opcode::RecvMsg::CODE;
        const NAME: &'static str = "IORING_OP_RECVMSG";
        const SINCE: &'static str = "5.3";

        fn lane(&self) -> Option<Lane> {
            Some(Lane::Read)
        }

        fn on_drop(&self) -> OnDrop {
            RecvFlags(self.all.flags).on_drop()
        }

        fn check(&mut self) -> io::Result<()> {
            if !self.all.is_stream {
                return Ok(());
            }
            refuse_empty(
                self.all.bufs.total_room(),
                "there is no room in the buffer to receive into",
            )
        }

        fn entry(&mut self, fd: RawFd) -> squeue::Entry {
            self.all.entry(fd)
        }

        fn discard(self, result: io::Result<Success>, origin: Origin<'_>) {
            self.all.discard(&result, origin);
        }

        fn serve(&mut self, kept: &mut Kept) -> Option<io::Result<Success>> {
            self.all.serve(kept)
        }
    };
}

// SAFETY: the entry points at the header inside `self`, and it at the address, the vectors and the control room
// inside `self` (or owned by it) and at the buffers' room; all of it stays where it is.
unsafe impl<B: IoVectoredBufMut> Operation for RecvMsg<B> {
    type Output = (io::Result<Message>, B);
    receives!();

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        self.all.complete(result)
    }
}

// SAFETY: as above.
unsafe impl<B: IoBufMut, R: Receipt> Operation for RecvFrom<B, R> {
    type Output = (io::Result<R>, B);
    receives!();

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        let (result, [buf]) = self.all.complete(result);
        (result.and_then(R::of), buf)
    }
}

impl<B> fmt::Debug for RecvMsg<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvMsg")
            .field("flags", &self.all.flags)
            .finish_non_exhaustive()
    }
}

impl<B, R> fmt::Debug for RecvFrom<B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvFrom")
            .field("flags", &self.all.flags)
            .finish_non_exhaustive()
    }
}

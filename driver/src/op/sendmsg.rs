//! `IORING_OP_SENDMSG`: `sendmsg(2)`, to an address or a connected peer, with control data.

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};
use socket2::SockAddr;

use super::send::send_flags;
use super::send_zc::Way;
use super::{Control, Operation, Origin, Success};
use crate::buf::{BufResult, IoBuf, IoVecs, IoVectoredBuf, refuse_empty};
use crate::driver::Driver;
use crate::fd::Lane;
use crate::ring::REPORT_USAGE;

/// Sends the initialised bytes of several buffers, as one message, which may be empty. Never raises `SIGPIPE`.
///
/// For large ones see [`Send`](super::Send).
pub struct SendMsg<B> {
    all: Transmit<B>,
}

impl<B: IoVectoredBuf> SendMsg<B> {
    /// To `peer`, or to whom the socket is connected; with `MSG_*` flags, as `sendmsg(2)` has them.
    pub fn new(bufs: B, peer: Option<SockAddr>, flags: i32) -> SendMsg<B> {
        SendMsg {
            all: Transmit::new(bufs, peer, flags),
        }
    }

    /// With control data. Its descriptors stay open until the operation has ended, and are closed then, whether
    /// they were sent or not. On a stream they go with the first byte.
    pub fn with_control(mut self, control: Control) -> SendMsg<B> {
        self.all.control = control;
        self
    }
}

/// Sends a buffer's initialised bytes as one message; otherwise as [`SendMsg`].
pub struct SendTo<B> {
    all: Transmit<[B; 1], 1>,
}

impl<B: IoBuf> SendTo<B> {
    /// As [`SendMsg::new`].
    pub fn new(buf: B, peer: Option<SockAddr>, flags: i32) -> SendTo<B> {
        SendTo {
            all: Transmit::new([buf], peer, flags),
        }
    }

    /// As [`SendMsg::with_control`].
    pub fn with_control(mut self, control: Control) -> SendTo<B> {
        self.all.control = control;
        self
    }

    /// To a stream: an empty buffer is refused (`InvalidInput`), as nothing would be sent, its control data included.
    pub fn to_stream(mut self) -> SendTo<B> {
        self.all.is_stream = true;
        self
    }
}

/// A send on its way: all the memory that the kernel sees.
pub(super) struct Transmit<B, const N: usize = 8> {
    pub(super) bufs: B,
    vecs: IoVecs<N>,
    peer: Option<SockAddr>,
    pub(super) control: Control,
    header: libc::msghdr,
    pub(super) flags: i32,
    is_stream: bool,
    way: Way,
}

impl<B: IoVectoredBuf, const N: usize> Transmit<B, N> {
    pub(super) fn new(bufs: B, peer: Option<SockAddr>, flags: i32) -> Transmit<B, N> {
        // SAFETY: a `msghdr` of zeros is valid: null pointers, zero lengths.
        let header = unsafe { mem::zeroed() };
        Transmit {
            bufs,
            vecs: IoVecs::new(),
            peer,
            control: Control::new(),
            header,
            flags: send_flags(flags),
            is_stream: false,
            way: Way::default(),
        }
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        if self.way.is_in_place() {
            return self.entry_in_place(fd);
        }
        let header = self.header();
        opcode::SendMsg::new(types::Fd(fd), header)
            .flags(self.flags.cast_unsigned())
            .build()
    }

    /// The entry of one that does not copy the bytes.
    pub(super) fn entry_in_place(&mut self, fd: RawFd) -> squeue::Entry {
        let header = self.header();
        opcode::SendMsgZc::new(types::Fd(fd), header)
            .ioprio(REPORT_USAGE)
            .flags(self.flags.cast_unsigned())
            .build()
    }

    fn header(&mut self) -> *const libc::msghdr {
        let (vecs, len) = self.vecs.of(&self.bufs);
        self.header.msg_iov = vecs;
        self.header.msg_iovlen = len as _;
        if let Some(peer) = &self.peer {
            self.header.msg_name = peer.as_ptr().cast_mut().cast();
            self.header.msg_namelen = peer.len();
        }
        let (control, len) = self.control.raw_parts();
        if len > 0 {
            self.header.msg_control = control;
            self.header.msg_controllen = len as _;
        }
        &raw const self.header
    }
}

/// Both operations are a [`Transmit`]; only what they give back differs.
macro_rules! transmits {
    () => {
        const OPCODE: u8 = opcode::SendMsg::CODE;
        const NAME: &'static str = "IORING_OP_SENDMSG";
        const SINCE: &'static str = "5.3";
        const ROUNDS: bool = true;
        const NOTIFIED: bool = true;

        fn lane(&self) -> Option<Lane> {
            Some(Lane::Write)
        }

        fn check(&mut self) -> io::Result<()> {
            if self.all.is_stream {
                let len = self.all.bufs.total_init();
                refuse_empty(len, "there is nothing in the buffer to send")?;
            }
            self.all.control.check()
        }

        fn entry(&mut self, fd: RawFd) -> squeue::Entry {
            self.all.entry(fd)
        }

        fn choose_way(&mut self, least: usize, driver: &Driver) {
            let opcode = opcode::SendMsgZc::CODE;
            if least < usize::MAX {
                let len = self.all.bufs.total_init();
                self.all.way.choose(len, least, driver, opcode);
            }
        }

        fn will_go_on(&self, result: &io::Result<Success>) -> bool {
            self.all.way.is_refused(result)
        }

        fn goes_on(&mut self, result: &io::Result<Success>) -> bool {
            self.all.way.refused(result)
        }

        fn landed(&mut self, result: &io::Result<Success>, origin: Origin<'_>) {
            self.all.way.landed(result, origin);
        }

        fn discard(mut self, result: io::Result<Success>, origin: Origin<'_>) {
            self.landed(&result, origin);
        }
    };
}

// SAFETY: the entry points at the header inside `self`, and it at the address, the vectors and the control data
// inside `self` (or owned by it) and at the buffers' initialised bytes; all of it stays where it is, and so do the
// descriptors that the control data names.
unsafe impl<B: IoVectoredBuf> Operation for SendMsg<B> {
    type Output = BufResult<usize, B>;
    transmits!();

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        (result.map(|s| s.value as usize), self.all.bufs)
    }
}

// SAFETY: as above.
unsafe impl<B: IoBuf> Operation for SendTo<B> {
    type Output = BufResult<usize, B>;
    transmits!();

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        let [buf] = self.all.bufs;
        (result.map(|s| s.value as usize), buf)
    }
}

impl<B> fmt::Debug for SendMsg<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendMsg")
            .field("flags", &self.all.flags)
            .finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for SendTo<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendTo")
            .field("flags", &self.all.flags)
            .finish_non_exhaustive()
    }
}

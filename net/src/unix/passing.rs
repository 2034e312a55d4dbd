//! Descriptors that go with the bytes (`SCM_RIGHTS`).

use std::io;
use std::os::fd::OwnedFd;

use annulet_driver::op::{Control, Message, Receipt, RecvFrom, SendTo};
use annulet_driver::{IoBuf, IoBufMut};

/// What arrived by [`UnixStream::recv_fds`](super::UnixStream::recv_fds) and its kin, besides the bytes.
#[derive(Debug)]
pub struct Passed {
    /// Bytes received into the buffer.
    pub len: usize,
    /// The descriptors that came with them, in the order they were sent, all close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// Whether there were more descriptors than had been asked for, or than this process may have: those are closed.
    pub fds_truncated: bool,
    /// Whether the message was longer than the buffer, and the rest of it is lost; never so on a stream.
    pub truncated: bool,
}

impl Receipt for Passed {
    fn of(mut message: Message) -> io::Result<Passed> {
        let has = |flag: rustix::net::ReturnFlags| message.flags.cast_unsigned() & flag.bits() != 0;
        Ok(Passed {
            len: message.len,
            fds_truncated: has(rustix::net::ReturnFlags::CTRUNC),
            truncated: has(rustix::net::ReturnFlags::TRUNC),
            fds: message.control.take_fds().collect(),
        })
    }
}

pub(super) fn send<B: IoBuf>(buf: B, fds: impl IntoIterator<Item = OwnedFd>) -> SendTo<B> {
    SendTo::new(buf, None, 0).with_control(Control::new().with_fds(fds))
}

pub(super) fn receive<B: IoBufMut>(buf: B, max_fds: usize) -> RecvFrom<B, Passed> {
    let room = match max_fds {
        0 => 0,
        // The exact length: the padding would make room for another one.
        count => Control::room(0) + count * size_of::<i32>(),
    };
    RecvFrom::new(buf, 0).with_control(room)
}

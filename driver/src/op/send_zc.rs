//! `IORING_OP_SEND_ZC`: `send(2)` that does not copy, but has the kernel read the buffer for as long as it needs.
//!
//! It completes twice: with its result, when the bytes are in the socket's queue, and with a *notification*, when nothing
//! reads the buffer any longer: it was received, or the connection is gone. How the slots count that is in
//! [`settle`](crate::slots). Where a send of the ordinary kind may go this way is decided here, too ([`Way`]).

use std::io;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::send::send_flags;
use super::{Operation, Origin, Success};
use crate::buf::{BufResult, IoBuf, kernel_len, refuse_empty};
use crate::driver::Driver;
use crate::fd::Lane;
use crate::ring::REPORT_USAGE;

/// Sends a buffer's initialised bytes on a connected socket without copying them. Never raises `SIGPIPE`.
///
/// It resolves, and gives the buffer back, when the kernel no longer reads it. On a TCP connection that is when the peer
/// has acknowledged the bytes: a round trip, or for ever if the peer is gone and nobody closes the connection. It pays
/// for large buffers on real network devices, with several sends under way; on the loopback device the kernel copies
/// all the same ([`Metrics::zero_copy_copied`](crate::Metrics)).
///
/// Sends on one socket follow one another, but do not wait for the buffers of those before: the direction is free for
/// the next as soon as the bytes are in the socket's queue. A chain goes on then, too.
///
/// From there on nothing ends it earlier, no cancel, no deadline: it has succeeded. A close does not wait for it. A
/// dropped one may have sent any part of the buffer; the buffer is freed when the kernel is through with it. The end of
/// a runtime waits for that, for at most its `shutdown_timeout`; then the buffer is leaked.
///
/// TCP and UDP sockets can do it; others, unix sockets among them, fail with `EOPNOTSUPP`. Without `CAP_IPC_LOCK` the
/// memory counts as locked (`RLIMIT_MEMLOCK`): `ENOMEM` beyond. Linux 6.0 has it, 6.2 with the report that it is asked
/// for. The ring in user space copies, and says so.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// # use runtime::net::{TcpListener, TcpStream};
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let peer = std::net::TcpStream::connect(listener.local_addr()?)?;
/// # let (stream, _) = listener.accept().await?;
/// use runtime::{Fd, Op, op};
///
/// let socket = Fd::new(stream.into_std().await.expect("it is open").into());
/// let (result, buf) = Op::on(&socket, op::SendZc::new(vec![7; 16 * 1024])).await;
/// match result {
///     Ok(sent) => assert!(sent <= buf.len()),
///     // Before Linux 6.2.
///     Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Unsupported),
/// }
/// # drop(peer);
/// # Ok(()) }) }
/// ```
#[derive(Debug)]
pub struct SendZc<B> {
    buf: B,
    flags: i32,
}

impl<B: IoBuf> SendZc<B> {
    /// Sends what the socket takes, at least one byte.
    pub fn new(buf: B) -> SendZc<B> {
        SendZc::with_flags(buf, 0)
    }

    /// With `MSG_*` flags, as [`Send::with_flags`](super::Send::with_flags) has them.
    pub fn with_flags(buf: B, flags: i32) -> SendZc<B> {
        SendZc {
            buf,
            flags: send_flags(flags),
        }
    }
}

/// The entry of a send without a copy.
pub(super) fn entry(fd: RawFd, from: *const u8, len: u32, flags: i32) -> squeue::Entry {
    opcode::SendZc::new(types::Fd(fd), from, len)
        .flags(flags)
        .zc_flags(REPORT_USAGE)
        .build()
}

// SAFETY: the entry points at `buf`'s initialised bytes, which the `IoBuf` contract keeps in place; the kernel only reads
// them, until the notification.
unsafe impl<B: IoBuf> Operation for SendZc<B> {
    type Output = BufResult<usize, B>;
    const OPCODE: u8 = opcode::SendZc::CODE;
    const NAME: &'static str = "IORING_OP_SEND_ZC";
    const SINCE: &'static str = "6.2";
    const NOTIFIED: bool = true;

    fn lane(&self) -> Option<Lane> {
        Some(Lane::Write)
    }

    fn check(&mut self) -> io::Result<()> {
        refuse_empty(
            self.buf.bytes_init(),
            "there is nothing in the buffer to send",
        )
    }

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let len = kernel_len(self.buf.bytes_init());
        entry(fd, self.buf.stable_ptr(), len, self.flags)
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        (result.map(|s| s.value as usize), self.buf)
    }
}

/// Which way a send goes that need not be without a copy, but may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Way {
    /// The kernel copies.
    #[default]
    Copied,
    /// The kernel reads where the bytes are.
    InPlace,
    /// The kernel would not, so it was told to copy.
    Refused,
}

impl Way {
    /// Chooses for `len` bytes, of which `least` may go without a copy; see [`Operation::choose_way`].
    #[inline]
    pub(super) fn choose(&mut self, len: usize, least: usize, driver: &Driver, opcode: u8) {
        if *self != Way::Refused {
            let in_place = len >= least && driver.supports(opcode);
            *self = if in_place { Way::InPlace } else { Way::Copied };
        }
    }

    pub(super) fn is_copied(self) -> bool {
        self == Way::Copied
    }

    pub(super) fn is_in_place(self) -> bool {
        self == Way::InPlace
    }

    /// Whether `result` says that it cannot be done without a copy: not on such a socket (`EOPNOTSUPP`), not by such a
    /// kernel (`EINVAL`), or not with so little memory that may be locked (`ENOMEM`).
    pub(super) fn is_refused(self, result: &io::Result<Success>) -> bool {
        let refuses = |error: &io::Error| {
            let errno = error.raw_os_error();
            matches!(errno, Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOMEM))
        };
        self == Way::InPlace && result.as_ref().is_err_and(refuses)
    }

    /// The same, and takes note: the next round is to copy.
    pub(super) fn refused(&mut self, result: &io::Result<Success>) -> bool {
        let refused = self.is_refused(result);
        if refused {
            *self = Way::Refused;
        }
        refused
    }

    /// Has a descriptor on which it was of no use try no more.
    pub(super) fn landed(self, result: &io::Result<Success>, origin: Origin<'_>) {
        let of_no_use = match self {
            Way::Copied => false,
            Way::InPlace => result.as_ref().is_ok_and(Success::was_copied),
            Way::Refused => true,
        };
        if let (true, Some(fd)) = (of_no_use, origin.fd) {
            fd.set_zero_copy(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_that_was_refused_is_not_chosen_again() {
        let driver = Driver::new(&crate::Setup::default()).unwrap();
        let nop = opcode::Nop::CODE;
        let mut way = Way::default();
        way.choose(9, 10, &driver, nop);
        assert_eq!(way, Way::Copied);
        way.choose(10, 10, &driver, nop);
        assert_eq!(way, Way::InPlace);
        assert!(!way.refused(&Ok(Success::of(10))));
        assert!(!way.refused(&Err(io::Error::from_raw_os_error(libc::EPIPE))));
        assert!(way.refused(&Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))));
        way.choose(10, 10, &driver, nop);
        assert_eq!(way, Way::Refused);
    }
}

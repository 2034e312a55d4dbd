//! Sends without a copy, which copy here.
//!
//! What they promise is kept: the *result*, which says that more is to come, and then the *notification* that the buffer is
//! its owner's again, right behind it. Where that was asked for (`IORING_SEND_ZC_REPORT_USAGE`) it says that the bytes were
//! copied, so that who can choose copies at once from then on.
//!
//! As the kernel has it, one that failed, or was cancelled, is followed by a notification, too. One that never began is not:
//! the kernel notifies of those of a chain that broke, behind an answer that said it was the last.

use std::os::fd::RawFd;

use io_uring::opcode as op;

use super::super::entry::Entry;
use super::super::requests::Progress;
use super::socket::{self, option};
use super::{Outcome, message};
use crate::ring::{COPIED, NOTIFICATION, REPORT_USAGE};

/// Whether `entry` has a notification behind its result.
pub(in super::super) fn notifies(entry: &Entry) -> bool {
    matches!(entry.opcode, op::SendZc::CODE | op::SendMsgZc::CODE)
}

/// The notification's result and flags.
pub(in super::super) fn notification(entry: &Entry) -> (i32, u32) {
    let reports = entry.ioprio & REPORT_USAGE != 0;
    let result = if reports { COPIED } else { 0 };
    (result.cast_signed(), NOTIFICATION)
}

/// What is wrong with it before it has begun.
pub(super) fn prepare(entry: &Entry) -> Result<(), i32> {
    if entry.skips_success() || entry.addr3 != 0 {
        return Err(-libc::EINVAL);
    }
    Ok(())
}

pub(super) fn carry(entry: &Entry, progress: &mut Progress) -> Outcome {
    // A descriptor does not change what it is while one waits.
    if progress.done == 0
        && let Err(errno) = can_do_without(entry.fd)
    {
        return Outcome::Done(errno);
    }
    if entry.opcode == op::SendZc::CODE {
        socket::send(entry, progress)
    } else {
        message::sendmsg(entry, progress)
    }
}

/// Whether the kernel could do without a copy on such a descriptor.
fn can_do_without(fd: RawFd) -> Result<(), i32> {
    let kind = match option(fd, libc::SO_TYPE) {
        errno if errno < 0 => return Err(errno),
        libc::SOCK_STREAM => libc::IPPROTO_TCP,
        libc::SOCK_DGRAM => libc::IPPROTO_UDP,
        _ => return Err(-libc::EOPNOTSUPP),
    };
    // Only sockets of the internet have these numbers, and of those others have others.
    if option(fd, libc::SO_PROTOCOL) == kind {
        Ok(())
    } else {
        Err(-libc::EOPNOTSUPP)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use socket2::{Domain, Protocol, Socket, Type};

    use super::*;

    #[test]
    fn tcp_and_udp_can_do_without_a_copy_and_nothing_else() {
        let can = |domain, kind, protocol| {
            let socket = Socket::new(domain, kind, protocol).ok()?;
            Some(can_do_without(socket.as_raw_fd()))
        };
        for domain in [Domain::IPV4, Domain::IPV6] {
            for kind in [Type::STREAM, Type::DGRAM] {
                // There may be no IPv6 here.
                let can = can(domain, kind, None);
                assert!(can.is_none_or(|can| can == Ok(())), "{can:?}");
            }
        }
        let cannot = Err(-libc::EOPNOTSUPP);
        for kind in [Type::STREAM, Type::DGRAM, Type::SEQPACKET] {
            assert_eq!(can(Domain::UNIX, kind, None), Some(cannot));
        }
        // These a program may not be allowed to make, or the kernel may not have.
        const MPTCP: i32 = 262;
        for (kind, protocol) in [
            (Type::DGRAM, Protocol::ICMPV4),
            (Type::STREAM, Protocol::from(MPTCP)),
        ] {
            let can = can(Domain::IPV4, kind, Some(protocol));
            assert!(can.is_none_or(|can| can == cannot), "{can:?}");
        }
        assert_eq!(can_do_without(-1), Err(-libc::EBADF));
    }
}

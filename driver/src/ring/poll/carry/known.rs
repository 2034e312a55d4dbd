//! What an entry may ask for besides its operation. What the kernel's ring would do and this one does not (an order of
//! entries by `IOSQE_IO_DRAIN`, bundles, picked buffers for reads ...) is refused: an entry is carried out as it says, or
//! not at all.

use io_uring::{opcode as op, squeue};

use super::super::entry::Entry;
use super::socket::{ACCEPT_MULTISHOT, POLL_FIRST, RECV_MULTISHOT};
use crate::ring::REPORT_USAGE;

const FLAGS: u8 = squeue::Flags::FIXED_FILE.bits()
    | squeue::Flags::IO_LINK.bits()
    | squeue::Flags::IO_HARDLINK.bits()
    | squeue::Flags::ASYNC.bits()
    | squeue::Flags::BUFFER_SELECT.bits()
    | squeue::Flags::SKIP_SUCCESS.bits();

/// What is known of the field `ioprio`: flags of its operation's own. Priorities there are none.
fn known_priority(opcode: u8) -> u16 {
    match opcode {
        op::Recv::CODE => POLL_FIRST | RECV_MULTISHOT,
        // Whoever would wait first tries first here, which comes to the same.
        op::RecvMsg::CODE | op::Send::CODE | op::SendMsg::CODE => POLL_FIRST,
        op::SendZc::CODE | op::SendMsgZc::CODE => POLL_FIRST | REPORT_USAGE,
        op::Accept::CODE => ACCEPT_MULTISHOT,
        _ => 0,
    }
}

/// Refuses an entry that asks for what there is not.
pub(super) fn check(entry: &Entry) -> Result<(), i32> {
    let unknown = entry.flags & !FLAGS != 0
        || entry.ioprio & !known_priority(entry.opcode) != 0
        || entry.personality != 0;
    if unknown {
        return Err(-libc::EINVAL);
    }
    match entry.opcode {
        _ if !entry.selects() => Ok(()),
        op::Recv::CODE => Ok(()),
        op::Read::CODE | op::Readv::CODE | op::RecvMsg::CODE => Err(-libc::EINVAL),
        op::Send::CODE | op::SendMsg::CODE => Err(-libc::EINVAL),
        _ => Err(-libc::EOPNOTSUPP),
    }
}

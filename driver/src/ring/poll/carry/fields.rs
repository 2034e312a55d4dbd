//! The fields of an entry that its operation has no use for. The kernel refuses most of these entries, so that the fields
//! can mean something one day: that is not to be overlooked here. As Linux 6.18 has it, field by field.

use io_uring::opcode as op;

use super::super::entry::Entry;
use super::splice::FD_IN_FIXED;

const OFF: u8 = 1;
const ADDR: u8 = 1 << 1;
const LEN: u8 = 1 << 2;
const FLAGS: u8 = 1 << 3;
const BUF: u8 = 1 << 4;
const FILE: u8 = 1 << 5;
const ADDR3: u8 = 1 << 6;

/// No address of a socket is longer.
const LONGEST: u64 = size_of::<libc::sockaddr_storage>() as u64;
const SOCKET_FLAGS: u32 = (libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as u32;
const SOCKET_TYPES: u32 = 0xf;
const POLL_MULTI: u32 = 1;

/// Those that have to be 0.
fn unused(opcode: u8) -> u8 {
    match opcode {
        op::Recv::CODE | op::RecvMsg::CODE | op::SendMsg::CODE => OFF | FILE,
        op::Accept::CODE => LEN | BUF,
        op::Connect::CODE | op::Bind::CODE => LEN | FLAGS | BUF | FILE,
        op::Socket::CODE => ADDR | FLAGS | BUF,
        op::Listen::CODE | op::Shutdown::CODE => OFF | ADDR | FLAGS | BUF | FILE,
        op::Close::CODE => OFF | ADDR | LEN | FLAGS | BUF,
        op::OpenAt::CODE | op::OpenAt2::CODE | op::MsgRingData::CODE => BUF,
        op::Statx::CODE | op::RenameAt::CODE | op::LinkAt::CODE => BUF | FILE,
        op::Fadvise::CODE | op::EpollCtl::CODE => BUF | FILE,
        op::Fsync::CODE | op::SyncFileRange::CODE => ADDR | BUF | FILE,
        op::Fallocate::CODE => FLAGS | BUF | FILE,
        op::Ftruncate::CODE => ADDR | LEN | FLAGS | BUF | FILE | ADDR3,
        op::UnlinkAt::CODE => OFF | LEN | BUF | FILE,
        op::MkDirAt::CODE => OFF | FLAGS | BUF | FILE,
        op::SymlinkAt::CODE => LEN | FLAGS | BUF | FILE,
        op::Tee::CODE => OFF | ADDR,
        op::PollAdd::CODE => OFF | ADDR | BUF,
        op::Timeout::CODE | op::LinkTimeout::CODE => BUF | FILE | ADDR3,
        op::TimeoutRemove::CODE => LEN | BUF | FILE | ADDR3,
        op::AsyncCancel::CODE => OFF | FILE,
        op::EpollWait::CODE => OFF | FLAGS | BUF | FILE,
        op::WaitId::CODE => ADDR | FLAGS | BUF | ADDR3,
        op::FutexWait::CODE | op::FutexWake::CODE => LEN | FLAGS | BUF | FILE,
        _ => 0,
    }
}

/// The flags of an operation's own that are known; of some it is only told when they are carried out.
fn known_flags(opcode: u8) -> u32 {
    match opcode {
        // It comes to nothing, whatever else the kernel's can be made to come to.
        op::Nop::CODE | op::MsgRingData::CODE => 0,
        op::Accept::CODE => SOCKET_FLAGS,
        op::Fsync::CODE => super::file::FSYNC_DATASYNC,
        op::UnlinkAt::CODE => libc::AT_REMOVEDIR as u32,
        op::GetXattr::CODE | op::FGetXattr::CODE => 0,
        op::SetXattr::CODE | op::FSetXattr::CODE => {
            (libc::XATTR_CREATE | libc::XATTR_REPLACE) as u32
        }
        op::Splice::CODE | op::Tee::CODE => 0xf | FD_IN_FIXED,
        _ => u32::MAX,
    }
}

fn used(entry: &Entry) -> u8 {
    let bit = |used: bool, bit: u8| if used { bit } else { 0 };
    bit(entry.off != 0, OFF)
        | bit(entry.addr != 0, ADDR)
        | bit(entry.len != 0, LEN)
        | bit(entry.op_flags != 0, FLAGS)
        | bit(entry.buf_index != 0, BUF)
        | bit(entry.splice_fd_in != 0, FILE)
        | bit(entry.addr3 != 0, ADDR3)
}

/// Refuses an entry that uses what means nothing.
pub(super) fn check(entry: &Entry) -> Result<(), i32> {
    let opcode = entry.opcode;
    let unknown = used(entry) & unused(opcode) != 0 || entry.op_flags & !known_flags(opcode) != 0;
    if unknown || is_beyond(entry) {
        return Err(-libc::EINVAL);
    }
    Ok(())
}

/// Whether a field has more than it may.
fn is_beyond(entry: &Entry) -> bool {
    match entry.opcode {
        op::Recv::CODE | op::RecvMsg::CODE | op::SendMsg::CODE => entry.len.cast_signed() < 0,
        // The other half of the address's length.
        op::Send::CODE => entry.len.cast_signed() < 0 || entry.splice_fd_in >> 16 != 0,
        op::Connect::CODE | op::Bind::CODE => entry.off > LONGEST,
        op::Socket::CODE => entry.off as u32 & !(SOCKET_FLAGS | SOCKET_TYPES) != 0,
        op::Fsync::CODE => entry.off.cast_signed() < 0,
        op::TimeoutRemove::CODE => entry.is_fixed() || entry.selects(),
        op::AsyncCancel::CODE => entry.selects(),
        op::PollAdd::CODE => {
            let many = entry.len & POLL_MULTI != 0;
            entry.len & !POLL_MULTI != 0 || many && entry.skips_success()
        }
        _ => false,
    }
}

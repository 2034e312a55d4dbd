//! What only the kernel knows of a TCP connection.
#![allow(
    unsafe_code,
    reason = "no library asks for TCP_INFO without unsafe code"
)]

use std::os::fd::{AsRawFd, BorrowedFd};

/// Segments that are on their way, or whose arrival the peer has not told of yet.
///
/// # Panics
///
/// If it is not a TCP socket.
pub fn unacknowledged(socket: BorrowedFd<'_>) -> u32 {
    // SAFETY: plain numbers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    let fd = socket.as_raw_fd();
    // SAFETY: `info` has room for `len` bytes, and both live through the call.
    let done = unsafe {
        libc::getsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    info.tcpi_unacked
}

//! Who is at the other end of a unix socket. Not an operation: what [`Control`](super::Control) carries, and socket
//! options that the ring has no opcode for; the calls do not block.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const SO_PEERPIDFD: i32 = 77;

/// A process as `SCM_CREDENTIALS` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The process.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl Credentials {
    /// Of the process at the other end of a connected unix socket, as they were when it connected, listened or made the
    /// pair (`SO_PEERCRED`). The process is 0 if it is in no namespace that is seen here.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` reports.
    pub fn of_peer(socket: BorrowedFd<'_>) -> io::Result<Credentials> {
        let none = libc::ucred {
            pid: 0,
            uid: u32::MAX,
            gid: u32::MAX,
        };
        // SAFETY: a `ucred` is three integers.
        let peer = unsafe { socket_option(socket, libc::SO_PEERCRED, none) }?;
        let libc::ucred { pid, uid, gid } = peer;
        Ok(Credentials { pid, uid, gid })
    }

    /// A descriptor of that process (`SO_PEERPIDFD`, Linux 6.5), close-on-exec: it stays the same process's, whoever is
    /// given its number later.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` reports: `ENODATA` for a peer without a process, `ESRCH` for one that is gone, `ENOPROTOOPT`
    /// before Linux 6.5.
    pub fn pidfd_of_peer(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        // SAFETY: an integer.
        let number = unsafe { socket_option(socket, SO_PEERPIDFD, -1) }?;
        if number < 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // SAFETY: the kernel has just made it for this call.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    }
}

/// # Safety
///
/// Any bytes are a `T`.
unsafe fn socket_option<T: Copy>(
    socket: BorrowedFd<'_>,
    option: i32,
    mut value: T,
) -> io::Result<T> {
    let mut len = size_of::<T>() as libc::socklen_t;
    let (raw, place) = (socket.as_raw_fd(), (&raw mut value).cast());
    // SAFETY: the kernel writes at most `len` bytes to `value`, and any bytes will do there.
    let asked = unsafe { libc::getsockopt(raw, libc::SOL_SOCKET, option, place, &raw mut len) };
    if asked < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(value)
}

//! `IORING_OP_WAITID`: `waitid(2)` for a child that ends, without reaping it.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use io_uring::{opcode, squeue};

use super::{Operation, Success};

/// Waits until a child has ended.
///
/// The child is not reaped (`WNOWAIT`): it remains a zombie, and its number its own, until `waitid(2)` or
/// [`Child::try_wait`](std::process::Child::try_wait), which find it at once, take its status. So nothing is lost
/// with a future that is dropped, not even one whose child ended in that moment, and any number may wait for one child.
pub struct WaitId {
    child: Child,
    info: MaybeUninit<libc::siginfo_t>,
}

#[derive(Clone, Copy, Debug)]
enum Child {
    Pid(u32),
    PidFd,
}

impl WaitId {
    /// For the child with this number. Whoever reaps it must not do so before this has ended: the number may
    /// be another's then.
    pub fn pid(pid: u32) -> WaitId {
        WaitId::new(Child::Pid(pid))
    }

    /// For the child whose pidfd (`pidfd_open(2)`) the operation is started [on](super::Op::on).
    pub fn pidfd() -> WaitId {
        WaitId::new(Child::PidFd)
    }

    fn new(child: Child) -> WaitId {
        WaitId {
            child,
            info: MaybeUninit::zeroed(),
        }
    }
}

// SAFETY: the entry points at `info` inside `self`, which stays where it is.
unsafe impl Operation for WaitId {
    type Output = io::Result<ExitStatus>;
    const OPCODE: u8 = opcode::WaitId::CODE;
    const NAME: &'static str = "IORING_OP_WAITID";
    const SINCE: &'static str = "6.7";

    fn entry(&mut self, fd: RawFd) -> squeue::Entry {
        let (kind, id) = match self.child {
            Child::Pid(pid) => (libc::P_PID, pid),
            // Of no descriptor, if it is -1: the kernel refuses it.
            Child::PidFd => (libc::P_PIDFD, fd.cast_unsigned()),
        };
        opcode::WaitId::new(kind, id, libc::WEXITED | libc::WNOWAIT)
            .infop(self.info.as_mut_ptr().cast_const())
            .build()
    }

    fn complete(self, result: io::Result<Success>) -> Self::Output {
        result?;
        // SAFETY: all zeros to begin with, which is a valid `siginfo_t` (integers and a union of them); the kernel
        // has filled it.
        let info = unsafe { self.info.assume_init() };
        // SAFETY: `si_status` lies within the structure, and is initialised whatever the union holds.
        let status = unsafe { info.si_status() };
        // As `wait(2)` has it: the exit code in the second byte, a signal in the first, 128 with it for a core dump.
        let raw = match info.si_code {
            libc::CLD_EXITED => (status & 0xff) << 8,
            libc::CLD_DUMPED => status | 0x80,
            _ => status,
        };
        Ok(ExitStatus::from_raw(raw))
    }
}

impl std::fmt::Debug for WaitId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitId")
            .field("child", &self.child)
            .finish_non_exhaustive()
    }
}

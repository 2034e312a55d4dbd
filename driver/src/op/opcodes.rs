//! The list of the operations, for those who ask what a kernel carries out.
//!
//! A new operation is added here, or the ops harness fails.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use io_uring::opcode;

use super::poll_multi::PollMulti;
use super::*;

/// One kind of operation, and what becomes of it where the ring does not carry it out.
///
/// # Examples
///
/// ```
/// use annulet_driver::op::{OPCODES, Without};
///
/// let bind = OPCODES.iter().find(|opcode| opcode.operation == "Bind").unwrap();
/// assert_eq!((bind.name, bind.number), ("IORING_OP_BIND", Some(56)));
/// assert_eq!((bind.since, bind.without), ("6.11", Without::Call));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opcode {
    /// The type in [`op`](crate::op), without its parameters; empty for what only the driver itself submits.
    pub operation: &'static str,
    /// What the kernel and errors call it.
    pub name: &'static str,
    /// The `IORING_OP_*` number; `None` for what is a plain system call on every ring.
    pub number: Option<u8>,
    /// The first Linux that carries it out.
    pub since: &'static str,
    /// What becomes of it without.
    pub without: Without,
}

/// What becomes of an operation that the ring does not carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// A plain system call that does not block takes its place, wherever it is used but in a chain.
    Call,
    /// It is `Unsupported` by itself; the functions built on it (of `fs`) use the thread pool.
    Pool,
    /// It is `Unsupported` by itself; the functions built on it (of `process`) wait by a poll.
    Poll,
    /// The operation of that name without `_FIXED` takes its place.
    Plain,
    /// It is `Unsupported`, and so is what is built on it.
    Nothing,
}

impl Opcode {
    const fn of<T: Operation>(operation: &'static str, without: Without) -> Opcode {
        Opcode {
            operation,
            name: T::NAME,
            number: if T::CALLED { None } else { Some(T::OPCODE) },
            since: T::SINCE,
            without,
        }
    }

    const fn of_the_driver(
        name: &'static str,
        number: u8,
        since: &'static str,
        without: Without,
    ) -> Opcode {
        Opcode {
            operation: "",
            name,
            number: Some(number),
            since,
            without,
        }
    }
}

/// `Type, parameters => what becomes of it without its opcode;`
macro_rules! opcodes {
    ($($type:ident $(<$($of:ty),+>)? => $without:ident;)*) => {
        &[
            Opcode::of_the_driver("IORING_OP_ASYNC_CANCEL", opcode::AsyncCancel::CODE, "5.5", Without::Nothing),
            Opcode::of_the_driver("IORING_OP_LINK_TIMEOUT", opcode::LinkTimeout::CODE, "5.5", Without::Nothing),
            Opcode::of_the_driver("IORING_OP_READ_FIXED", opcode::ReadFixed::CODE, "5.1", Without::Plain),
            Opcode::of_the_driver("IORING_OP_WRITE_FIXED", opcode::WriteFixed::CODE, "5.1", Without::Plain),
            $(Opcode::of::<$type $(<$($of),+>)?>(stringify!($type), Without::$without)),*
        ]
    };
}

/// All operations there are.
pub const OPCODES: &[Opcode] = opcodes! {
    Accept => Nothing;
    AcceptMulti => Nothing;
    Bind => Call;
    CloseFd => Nothing;
    Connect => Nothing;
    EpollCtl => Call;
    EpollWait => Nothing;
    Fadvise => Nothing;
    Fallocate => Nothing;
    FgetXattr<Vec<u8>> => Pool;
    FsetXattr<Vec<u8>> => Pool;
    Fsync => Nothing;
    Ftruncate => Pool;
    FutexWait<Arc<AtomicU32>> => Nothing;
    FutexWake<Arc<AtomicU32>> => Call;
    GetXattr<Vec<u8>> => Pool;
    LinkAt => Pool;
    Listen => Call;
    MkdirAt => Pool;
    MsgRing => Nothing;
    Nop => Nothing;
    OpenAt => Nothing;
    OpenAt2 => Nothing;
    PollAdd => Nothing;
    PollMulti => Nothing;
    Read<Vec<u8>> => Nothing;
    ReadExact<Vec<u8>> => Nothing;
    Readv<Vec<Vec<u8>>> => Nothing;
    Recv<Vec<u8>> => Nothing;
    RecvChunk => Nothing;
    RecvExact<Vec<u8>> => Nothing;
    RecvFrom<Vec<u8>, Message> => Nothing;
    RecvMsg<Vec<Vec<u8>>> => Nothing;
    RecvMulti => Nothing;
    RenameAt => Pool;
    Seek => Call;
    Send<Vec<u8>> => Nothing;
    SendAll<Vec<u8>> => Nothing;
    SendMsg<Vec<Vec<u8>>> => Nothing;
    SendMsgZc<Vec<Vec<u8>>> => Nothing;
    SendTo<Vec<u8>> => Nothing;
    SendZc<Vec<u8>> => Nothing;
    SetXattr<Vec<u8>> => Pool;
    Shutdown => Nothing;
    Socket => Call;
    Splice => Nothing;
    Statx => Nothing;
    SymlinkAt => Pool;
    SyncFileRange => Nothing;
    Tee => Nothing;
    Timeout => Nothing;
    UnlinkAt => Pool;
    WaitId => Poll;
    Write<Vec<u8>> => Nothing;
    WriteAll<Vec<u8>> => Nothing;
    Writev<Vec<Vec<u8>>> => Nothing;
};

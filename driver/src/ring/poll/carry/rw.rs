//! Reads and writes. What may not block depends on what the descriptor is:
//!
//! | it is | how |
//! | --- | --- |
//! | a file, a directory, a disk | a worker's `preadv2` |
//! | a socket | `recvmsg` and `sendmsg` with `MSG_DONTWAIT` |
//! | a pipe, a terminal, an eventfd ... | `preadv2` with `RWF_NOWAIT`; where that is not known, as of a pipe that was spliced, `poll` first, and no more than a pipe takes at once |

use std::mem;
use std::os::fd::RawFd;

use io_uring::opcode as op;

use super::super::entry::Entry;
use super::super::files::Row;
use super::super::registered::Regions;
use super::super::watch::poll_now;
use super::super::workers::{Words, Work};
use super::{IN, OUT, Outcome, answer, uninterrupted};

/// "At the descriptor's own position".
const OWN: u64 = u64::MAX;
/// Free room of this much is what `POLLOUT` promises of a pipe.
const PIPE_BUF: usize = 4096;
const NOWAIT: i32 = libc::RWF_NOWAIT;

/// What reads and writes of a descriptor are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    File,
    Socket,
    Other,
}

pub(in super::super) fn kind(fd: RawFd) -> Result<Kind, i32> {
    // SAFETY: all zeros are a `stat`; the call fills it in, and reads no memory.
    let (mode, result) = unsafe {
        let mut stat: libc::stat = mem::zeroed();
        let result = libc::fstat(fd, &raw mut stat);
        (stat.st_mode, result)
    };
    match answer(result.into()) {
        0 => Ok(match mode & libc::S_IFMT {
            libc::S_IFSOCK => Kind::Socket,
            libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK => Kind::File,
            _ => Kind::Other,
        }),
        errno => Err(errno),
    }
}

/// The memory of a read or write: its vectors, in the entry's memory or made of its one buffer.
#[derive(Clone, Copy)]
struct Memory {
    one: libc::iovec,
    vectors: *const libc::iovec,
    count: usize,
}

impl Memory {
    fn of(entry: &Entry) -> Memory {
        let one = libc::iovec {
            iov_base: entry.ptr(),
            iov_len: entry.len(),
        };
        if matches!(entry.opcode, op::Readv::CODE | op::Writev::CODE) {
            Memory {
                one,
                vectors: entry.ptr(),
                count: entry.len(),
            }
        } else {
            Memory {
                one,
                vectors: std::ptr::null(),
                count: 1,
            }
        }
    }

    /// As a worker is handed it, with what else there is to a read or write.
    fn words(&self, fd: RawFd, events: u32, offset: u64, flags: i32) -> Words {
        let (base, len) = (self.one.iov_base as u64, self.one.iov_len as u64);
        let (vectors, count) = (self.vectors as u64, self.count as u64);
        let flags = flags.cast_unsigned().into();
        let fd = fd.cast_unsigned().into();
        [base, len, vectors, count, fd, events.into(), offset, flags]
    }

    fn of_words([base, len, vectors, count, rest @ ..]: Words) -> (Memory, [u64; 4]) {
        let one = libc::iovec {
            iov_base: base as *mut _,
            iov_len: len as usize,
        };
        let memory = Memory {
            one,
            vectors: vectors as *const _,
            count: count as usize,
        };
        (memory, rest)
    }

    fn vectors(&self) -> *const libc::iovec {
        if self.vectors.is_null() {
            &raw const self.one
        } else {
            self.vectors
        }
    }

    /// No more than `limit` bytes behind the first `done`, all in one vector.
    fn part(&self, mut done: usize, limit: usize) -> libc::iovec {
        for at in 0..self.count {
            // SAFETY: the entry says that there are `count` of them.
            let vector = unsafe { *self.vectors().add(at) };
            if vector.iov_len > done {
                return libc::iovec {
                    // SAFETY: it is within the vector.
                    iov_base: unsafe { vector.iov_base.byte_add(done) },
                    iov_len: (vector.iov_len - done).min(limit),
                };
            }
            done -= vector.iov_len;
        }
        libc::iovec {
            iov_len: 0,
            ..self.one
        }
    }

    fn total(&self) -> u64 {
        // SAFETY: the entry says that there are `count` of them.
        let vectors = (0..self.count).map(|at| unsafe { *self.vectors().add(at) });
        vectors.map(|vector| vector.iov_len as u64).sum()
    }
}

/// How much a vectored read or write is about.
pub(super) fn total(entry: &Entry) -> u64 {
    if entry.len() > libc::UIO_MAXIOV as usize {
        return 0;
    }
    Memory::of(entry).total()
}

pub(super) fn read(entry: &Entry, row: Option<&Row>) -> Outcome {
    carry(entry, row, IN)
}

pub(super) fn write(entry: &Entry, row: Option<&Row>) -> Outcome {
    carry(entry, row, OUT)
}

/// What the descriptor is that an entry names: a row remembers it.
pub(super) fn kind_of(fd: RawFd, row: Option<&Row>) -> Result<Kind, i32> {
    row.map_or_else(|| kind(fd), Row::kind)
}

fn carry(entry: &Entry, row: Option<&Row>, events: u32) -> Outcome {
    if matches!(entry.opcode, op::Readv::CODE | op::Writev::CODE)
        && entry.len() > libc::UIO_MAXIOV as usize
    {
        return Outcome::Done(-libc::EINVAL);
    }
    match kind_of(entry.fd, row) {
        Ok(kind) => carry_on(kind, entry, events),
        Err(errno) => Outcome::Done(errno),
    }
}

/// A read or write of memory that the ring knows: whether it does is looked at once.
pub(super) fn fixed(
    entry: &Entry,
    row: Option<&Row>,
    regions: &Regions,
    looked: &mut bool,
) -> Outcome {
    let kind = match kind_of(entry.fd, row) {
        Ok(kind) => kind,
        Err(errno) => return Outcome::Done(errno),
    };
    if !*looked && let Err(errno) = regions.check(entry) {
        return Outcome::Done(errno);
    }
    *looked = true;
    let reads = entry.opcode == op::ReadFixed::CODE;
    carry_on(kind, entry, if reads { IN } else { OUT })
}

fn carry_on(kind: Kind, entry: &Entry, events: u32) -> Outcome {
    let memory = Memory::of(entry);
    let (fd, offset, flags) = (entry.fd, entry.off, entry.op_flags.cast_signed());
    match kind {
        Kind::File => Outcome::Work(Work::plain(
            of_file,
            memory.words(fd, events, offset, flags),
        )),
        Kind::Socket if !matches!(offset, 0 | OWN) => Outcome::Done(-libc::ESPIPE),
        // A receive of nothing would wait for something.
        Kind::Socket if events == IN && memory.total() == 0 => Outcome::Done(0),
        Kind::Socket => wait_if_empty(fd, events, flags, socket(fd, events, &memory)),
        Kind::Other => other(fd, events, &memory, flags),
    }
}

fn of_file(words: Words) -> i32 {
    let (memory, [fd, events, offset, flags]) = Memory::of_words(words);
    let (fd, events, flags) = (fd as RawFd, events as u32, flags as i32);
    vectored(fd, events, memory.vectors(), memory.count, offset, flags)
}

/// `EAGAIN` means to wait, unless it was asked for.
fn wait_if_empty(fd: RawFd, events: u32, flags: i32, result: i32) -> Outcome {
    if result == -libc::EAGAIN && flags & NOWAIT == 0 {
        Outcome::Wait(fd, events)
    } else {
        Outcome::Done(result)
    }
}

fn vectored(
    fd: RawFd,
    events: u32,
    vectors: *const libc::iovec,
    count: usize,
    offset: u64,
    flags: i32,
) -> i32 {
    let (call, high) = if events == IN {
        (libc::SYS_preadv2, offset >> 32)
    } else {
        (libc::SYS_pwritev2, offset >> 32)
    };
    // SAFETY: the vectors and what they point at are the request's memory, which is ours until it completes. The
    // offset is passed in two halves, of which 64-bit kernels use the first, whole.
    uninterrupted(|| unsafe { libc::syscall(call, fd, vectors, count, offset, high, flags) })
}

fn socket(fd: RawFd, events: u32, memory: &Memory) -> i32 {
    // SAFETY: all zeros are a header that says nothing.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = memory.vectors().cast_mut();
    header.msg_iovlen = memory.count;
    // SAFETY: the header lives across the calls, and points at the request's memory.
    uninterrupted(|| unsafe {
        if events == IN {
            libc::recvmsg(fd, &raw mut header, libc::MSG_DONTWAIT) as libc::c_long
        } else {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            libc::sendmsg(fd, &raw const header, flags) as libc::c_long
        }
    })
}

fn other(fd: RawFd, events: u32, memory: &Memory, flags: i32) -> Outcome {
    let result = vectored(
        fd,
        events,
        memory.vectors(),
        memory.count,
        OWN,
        flags | NOWAIT,
    );
    match result {
        errno if errno == -libc::EAGAIN && is_nonblocking(fd) => Outcome::Done(errno),
        errno if errno == -libc::EOPNOTSUPP || errno == -libc::EINVAL => {
            by_poll(fd, events, memory, flags)
        }
        result => wait_if_empty(fd, events, flags, result),
    }
}

/// For what does not know `RWF_NOWAIT`.
fn by_poll(fd: RawFd, events: u32, memory: &Memory, flags: i32) -> Outcome {
    if !is_nonblocking(fd) && poll_now(fd, events) == 0 {
        return wait_if_empty(fd, events, flags, -libc::EAGAIN);
    }
    let flags = flags & !NOWAIT;
    if events == IN {
        // It takes what there is.
        let (vectors, count) = (memory.vectors(), memory.count);
        return Outcome::Done(vectored(fd, events, vectors, count, OWN, flags));
    }
    let mut done = 0;
    loop {
        let part = memory.part(done, PIPE_BUF);
        let result = vectored(fd, events, &raw const part, 1, OWN, flags);
        match usize::try_from(result) {
            Ok(moved) => done += moved,
            Err(_) if done == 0 => return Outcome::Done(result),
            Err(_) => break,
        }
        if result == 0 || done as u64 >= memory.total() || poll_now(fd, OUT) <= 0 {
            break;
        }
    }
    Outcome::Done(i32::try_from(done).unwrap_or(i32::MAX))
}

pub(super) fn is_nonblocking(fd: RawFd) -> bool {
    // SAFETY: reads no memory.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    flags >= 0 && flags & libc::O_NONBLOCK != 0
}

//! The descriptors of one strand, and the entries on them.

use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::Ordering::Release;
use std::sync::atomic::{AtomicU16, AtomicU32};

use io_uring::{opcode, squeue, types};

use super::LIMIT;
use super::program::{Member, Place, What};
use crate::ring::Ring;
use crate::ring::poll::watch::poll_now;

pub(super) const ROOM: usize = 8192;
const NEVER: i64 = 3600;

/// Memory an entry points at; boxed, so that it stays where it is.
struct Memory {
    bytes: [u8; ROOM],
    vectors: [libc::iovec; 2],
    time: types::Timespec,
}

/// Buffers to pick, and their ring.
#[repr(align(4096))]
struct Buffers {
    ring: [u8; 4096],
    bytes: [[u8; 16]; PICKS as usize],
    tail: u16,
}

/// As many are there to be picked in all.
const PICKS: u16 = 8;

pub(super) struct World {
    place: Place,
    reader: OwnedFd,
    /// `None` once it was closed.
    writer: Option<OwnedFd>,
    beside: (OwnedFd, OwnedFd),
    clients: Vec<UnixStream>,
    address: Option<tempfile::TempDir>,
    memory: Vec<Box<Memory>>,
    group: u16,
    buffers: Box<Buffers>,
    word: Box<AtomicU32>,
}

/// Of the numbers `before`, the one so many back.
pub(super) fn target(before: &[u64], back: u8) -> u64 {
    let target = before.iter().rev().nth(usize::from(back) - 1);
    // Less the bit that a deadline's number has.
    target.copied().unwrap_or(!LIMIT)
}

/// `FUTEX_BITSET_MATCH_ANY`.
const ANYBODY: u64 = 0xffff_ffff;

/// Words of 32 bits, and who meets there.
fn scope(shared: bool) -> u32 {
    if shared { 2 } else { 2 | 128 }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader.into(), writer.into())
}

fn fill(writer: &OwnedFd) {
    let flags = rustix::fs::fcntl_getfl(writer).unwrap();
    rustix::fs::fcntl_setfl(writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while rustix::io::write(writer, &[b'f'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(writer, flags).unwrap();
}

impl World {
    pub(super) fn new(place: Place, group: u16, ring: &mut Ring) -> World {
        let mut address = None;
        let (reader, writer) = match place {
            Place::Pipe | Place::FullPipe | Place::Clock | Place::Counter | Place::Word => pipe(),
            Place::Stream => {
                let (one, other) = UnixStream::pair().unwrap();
                (one.into(), other.into())
            }
            Place::Packets => {
                use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
                let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
                socketpair(family, kind, SocketFlags::CLOEXEC, None).unwrap()
            }
            Place::File => {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&[b'o'; 50]).unwrap();
                let other = file.try_clone().unwrap();
                (file.into(), other.into())
            }
            Place::Listener => {
                let dir = tempfile::tempdir().unwrap();
                let listener = UnixListener::bind(dir.path().join("l")).unwrap();
                address = Some(dir);
                (listener.into(), pipe().1)
            }
        };
        if place == Place::FullPipe {
            fill(&writer);
        }
        let mut buffers = Box::new(Buffers {
            ring: [0; 4096],
            bytes: [[0; 16]; PICKS as usize],
            tail: 0,
        });
        if place.picks() {
            let at = buffers.ring.as_mut_ptr() as u64;
            // SAFETY: the memory is the world's, which is there until all that is in flight has ended.
            unsafe { ring.register_buffers(at, PICKS, group) }.unwrap();
        }
        let mut world = World {
            place,
            reader,
            writer: Some(writer),
            beside: pipe(),
            clients: Vec::new(),
            address,
            memory: Vec::new(),
            group,
            buffers,
            word: Box::default(),
        };
        world.provide(3);
        world
    }

    /// Puts more buffers where they are picked.
    pub(super) fn provide(&mut self, count: u16) {
        let buffers = &mut *self.buffers;
        let entries = buffers.ring.as_mut_ptr().cast::<types::BufRingEntry>();
        for number in buffers.tail..PICKS.min(buffers.tail + count) {
            // SAFETY: within the memory; nobody looks there before the tail says so.
            let entry = unsafe { &mut *entries.add(number.into()) };
            let bytes = &mut buffers.bytes[usize::from(number)];
            entry.set_addr(bytes.as_mut_ptr() as u64);
            entry.set_len(bytes.len() as u32);
            entry.set_bid(number);
            buffers.tail = number + 1;
        }
        // SAFETY: the tail is in the first entry, and aligned.
        let tail = unsafe { AtomicU16::from_ptr(types::BufRingEntry::tail(entries).cast_mut()) };
        tail.store(buffers.tail, Release);
    }

    pub(super) fn connect(&mut self) {
        if let Some(dir) = &self.address {
            self.clients
                .push(UnixStream::connect(dir.path().join("l")).unwrap());
        }
    }

    pub(super) fn can_close(&self) -> bool {
        self.writer.is_some() && !matches!(self.place, Place::FullPipe | Place::File)
    }

    /// The ring has closed it.
    pub(super) fn writer_closed(&mut self) {
        if let Some(writer) = self.writer.take() {
            let _ = writer.into_raw_fd();
        }
    }

    /// The ring has accepted it.
    pub(super) fn accepted(&mut self, socket: RawFd) {
        // SAFETY: it is new, and told of once.
        drop(unsafe { OwnedFd::from_raw_fd(socket) });
    }

    /// What the memory of all entries holds, and what is left in the descriptors.
    pub(super) fn remains(&self) -> Vec<Vec<u8>> {
        let read = |fd: &OwnedFd, what: &mut Vec<u8>| {
            while poll_now(fd.as_raw_fd(), libc::POLLIN as u32) > 0 {
                let mut bytes = [0; 70_000];
                match rustix::io::read(fd, &mut bytes) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => what.extend(&bytes[..n]),
                }
            }
        };
        let picked = self.buffers.bytes.iter().map(|bytes| bytes.to_vec());
        let memory = self.memory.iter().map(|memory| memory.bytes.to_vec());
        let mut all: Vec<Vec<u8>> = memory.chain(picked).collect();
        let mut left = Vec::new();
        if self.place == Place::File {
            let mut bytes = [0; 70_000];
            let n = rustix::io::pread(&self.reader, &mut bytes, 0).unwrap();
            left.extend(&bytes[..n]);
        } else if self.place != Place::Listener {
            read(&self.reader, &mut left);
        }
        read(&self.beside.0, &mut left);
        all.push(left);
        all
    }

    fn memory(&mut self, fill: u8) -> &mut Memory {
        self.memory.push(Box::new(Memory {
            bytes: [fill; ROOM],
            vectors: [libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            }; 2],
            time: types::Timespec::new(),
        }));
        self.memory.last_mut().unwrap()
    }

    fn vectors(&mut self, fill: u8, len: u16) -> *const libc::iovec {
        let memory = self.memory(fill);
        let first = usize::from(len) / 3;
        let start = memory.bytes.as_mut_ptr();
        memory.vectors = [
            libc::iovec {
                iov_base: start.cast(),
                iov_len: first,
            },
            libc::iovec {
                // SAFETY: `first` is less than its length.
                iov_base: unsafe { start.add(first) }.cast(),
                iov_len: usize::from(len) - first,
            },
        ];
        memory.vectors.as_ptr()
    }

    fn time(&mut self, soon: bool) -> *const types::Timespec {
        let time = match soon {
            true => types::Timespec::new().nsec(1_000_000),
            false => types::Timespec::new().sec(NEVER as u64),
        };
        let memory = self.memory(0);
        memory.time = time;
        &raw const memory.time
    }

    pub(super) fn limit(&mut self, soon: bool) -> squeue::Entry {
        opcode::LinkTimeout::new(self.time(soon)).build()
    }

    /// The entry of a member. `number` is its own, `before` those of the strand's earlier ones.
    pub(super) fn entry(&mut self, member: &Member, number: u64, before: &[u64]) -> squeue::Entry {
        let reader = types::Fd(self.reader.as_raw_fd());
        let writer = types::Fd(self.writer.as_ref().map_or(-1, AsRawFd::as_raw_fd));
        let fill = (number % 251) as u8;
        let is_socket = matches!(self.place, Place::Stream | Place::Packets);
        let at = if self.place == Place::File {
            number % 40
        } else {
            u64::MAX
        };
        match member.what {
            What::Nop => opcode::Nop::new().build(),
            What::BadRead => {
                opcode::Read::new(types::Fd(-1), self.memory(0).bytes.as_mut_ptr(), 1).build()
            }
            What::NoOpcode => {
                let mut bytes = [0u8; 64];
                bytes[0] = 250;
                // SAFETY: an entry is 64 bytes, in which all bits are valid.
                unsafe { std::mem::transmute::<[u8; 64], squeue::Entry>(bytes) }
            }
            What::BadFlags => opcode::Timeout::new(self.time(true))
                .flags(types::TimeoutFlags::from_bits_retain(1 << 20))
                .build(),
            What::ReadAll(len) if is_socket => {
                opcode::Recv::new(reader, self.memory(0).bytes.as_mut_ptr(), len.into())
                    .flags(libc::MSG_WAITALL)
                    .build()
            }
            What::TryRead(len) if is_socket => {
                opcode::Recv::new(reader, self.memory(0).bytes.as_mut_ptr(), len.into())
                    .flags(libc::MSG_DONTWAIT)
                    .build()
            }
            What::TryRead(len) if self.place != Place::File => {
                opcode::Read::new(reader, self.memory(0).bytes.as_mut_ptr(), len.into())
                    .offset(at)
                    .rw_flags(libc::RWF_NOWAIT)
                    .build()
            }
            What::Read(len) | What::ReadAll(len) | What::TryRead(len) => {
                opcode::Read::new(reader, self.memory(0).bytes.as_mut_ptr(), len.into())
                    .offset(at)
                    .build()
            }
            What::Readv(len) => opcode::Readv::new(reader, self.vectors(0, len), 2)
                .offset(at)
                .build(),
            What::Write(len) if is_socket => {
                opcode::Send::new(writer, self.memory(fill).bytes.as_ptr(), len.into()).build()
            }
            What::Write(len) => {
                opcode::Write::new(writer, self.memory(fill).bytes.as_ptr(), len.into())
                    .offset(at)
                    .build()
            }
            What::Writev(len) => opcode::Writev::new(writer, self.vectors(fill, len), 2)
                .offset(at)
                .build(),
            What::Shutdown => opcode::Shutdown::new(writer, libc::SHUT_WR).build(),
            What::CloseWriter => opcode::Close::new(writer).build(),
            What::Poll => opcode::PollAdd::new(reader, libc::POLLIN as u32).build(),
            What::PollMany => opcode::PollAdd::new(reader, libc::POLLIN as u32)
                .multi(true)
                .build(),
            What::Accept => {
                opcode::Accept::new(reader, std::ptr::null_mut(), std::ptr::null_mut()).build()
            }
            What::AcceptMany => opcode::AcceptMulti::new(reader).build(),
            What::Splice(len) => {
                let to = types::Fd(self.beside.1.as_raw_fd());
                opcode::Splice::new(reader, -1, to, -1, len.into())
                    .flags(libc::SPLICE_F_NONBLOCK)
                    .build()
            }
            What::Timeout { soon, success } => {
                let flags = match success {
                    true => types::TimeoutFlags::ETIME_SUCCESS,
                    false => types::TimeoutFlags::empty(),
                };
                opcode::Timeout::new(self.time(soon)).flags(flags).build()
            }
            What::Cancel(back) => opcode::AsyncCancel::new(target(before, back)).build(),
            What::Remove(back) => opcode::TimeoutRemove::new(target(before, back)).build(),
            What::Update { back, soon, limit } => {
                let (target, time) = (target(before, back), self.time(soon));
                if limit {
                    let flags = types::TimeoutFlags::LINK_TIMEOUT_UPDATE;
                    let update = opcode::TimeoutUpdate::new(target | LIMIT, time);
                    update.flags(flags).build()
                } else {
                    opcode::TimeoutUpdate::new(target, time).build()
                }
            }
            What::Count(count) => {
                let timeout = opcode::Timeout::new(self.time(false));
                timeout.count(count.into()).build()
            }
            What::Repeat(times) => {
                let timeout = opcode::Timeout::new(self.time(true)).count(times.into());
                timeout.flags(types::TimeoutFlags::MULTISHOT).build()
            }
            What::Pick(len) => opcode::Recv::new(reader, std::ptr::null_mut(), len.into())
                .buf_group(self.group)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
            What::PickMany => opcode::RecvMulti::new(reader, self.group).build(),
            What::Provide => {
                self.provide(2);
                opcode::Nop::new().build()
            }
            What::WaitWord { expected, shared } => {
                let (word, value) = (self.word.as_ptr(), u64::from(!expected));
                opcode::FutexWait::new(word, value, ANYBODY, scope(shared)).build()
            }
            What::WakeWord { count, shared } => {
                let (word, count) = (self.word.as_ptr(), count.into());
                opcode::FutexWake::new(word, count, ANYBODY, scope(shared)).build()
            }
            What::CancelReader => {
                let all = types::CancelBuilder::fd(reader).all();
                opcode::AsyncCancel2::new(all).build()
            }
            What::CancelNobody => opcode::AsyncCancel::new(u64::MAX - 1).build(),
        }
        .user_data(number)
    }

    /// Whether the member goes on by itself, as things are.
    pub(super) fn can_go_on(&self, member: &Member, told: bool) -> bool {
        let ready = |fd: RawFd, events: i16| poll_now(fd, events as u32) != 0;
        let reader = self.reader.as_raw_fd();
        match member.what {
            _ if member.limit == Some(true) => true,
            What::Timeout { soon, .. } => soon,
            What::PollMany => !told && ready(reader, libc::POLLIN),
            What::Read(_) | What::Readv(_) | What::ReadAll(_) => ready(reader, libc::POLLIN),
            What::Poll | What::Accept | What::AcceptMany => ready(reader, libc::POLLIN),
            What::Pick(_) | What::PickMany => ready(reader, libc::POLLIN),
            // Told of by who wakes, or cancels.
            What::Count(_) | What::WaitWord { expected: true, .. } => false,
            What::Write(_) | What::Writev(_) => self
                .writer
                .as_ref()
                .is_none_or(|writer| ready(writer.as_raw_fd(), libc::POLLOUT)),
            _ => true,
        }
    }
}

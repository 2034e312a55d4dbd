//! The descriptors of one strand, and the memory of the entries on them.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::Release;
use std::sync::atomic::{AtomicU16, AtomicU32};
use std::time::{Duration, Instant};

use io_uring::{opcode, squeue, types};
use tempfile::TempDir;

use super::PATIENCE;
use super::members::At;
use super::members::rows::ROWS;
use super::members::times::Clock;
use super::place::{Ends, Place, pipe};
use super::progress::SHORTLY;
use crate::ring::poll::watch::poll_now;
use crate::ring::{Completion, INCREMENTAL, Ring, Setup, Wait};

const ROOM: usize = 8192;
const NEVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(1);

/// Memory an entry points at; boxed, so that it stays where it is.
struct Memory {
    bytes: [u8; ROOM],
    vectors: [libc::iovec; 2],
    header: libc::msghdr,
    time: types::Timespec,
    status: libc::statx,
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
    pub(super) place: Place,
    reader: OwnedFd,
    /// `None` once it was closed.
    writer: Option<OwnedFd>,
    beside: (OwnedFd, OwnedFd),
    clients: Vec<UnixStream>,
    address: Option<TempDir>,
    memory: Vec<Box<Memory>>,
    pub(super) group: u16,
    buffers: Box<Buffers>,
    pub(super) word: Box<AtomicU32>,
    /// Those who were woken and have not said so.
    pub(super) owed: i32,
    /// Of the reader and the writer, once something names them by their rows.
    rows: [Option<u32>; 2],
    peer: Option<(Ring, OwnedFd)>,
    /// Messages that were sent to the peer.
    pub(super) mailed: usize,
}

impl World {
    pub(super) fn new(place: Place, group: u16, ring: &mut Ring) -> World {
        let Ends {
            reader,
            writer,
            address,
        } = place.ends();
        let mut buffers = Box::new(Buffers {
            ring: [0; 4096],
            bytes: [[0; 16]; PICKS as usize],
            tail: 0,
        });
        if place.is_socket() {
            let at = buffers.ring.as_mut_ptr() as u64;
            // Of every other strand they are consumed by and by.
            let flags = if group % 2 == 1 { INCREMENTAL } else { 0 };
            // SAFETY: the memory is the world's, which is there until all that is in flight has ended.
            unsafe { ring.register_buffers(at, PICKS, group, flags) }.unwrap();
        }
        if place == Place::Table {
            let tables = ring.tables().unwrap();
            tables.register_files_sparse(ROWS).unwrap();
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
            owed: 0,
            rows: [None; 2],
            peer: (place == Place::Mail).then(|| another(ring)),
            mailed: 0,
        };
        world.provide(3);
        world
    }

    pub(super) fn reader(&self) -> types::Fd {
        types::Fd(self.reader.as_raw_fd())
    }

    pub(super) fn writer(&self) -> types::Fd {
        types::Fd(self.writer.as_ref().map_or(-1, AsRawFd::as_raw_fd))
    }

    /// The row in which the descriptor `fd` is, if it is the reader's or the writer's.
    pub(super) fn row(&mut self, fd: RawFd, ring: &mut Ring) -> Option<u32> {
        let ends = [self.reader().0, self.writer().0];
        let end = ends.iter().position(|end| *end == fd && fd >= 0)?;
        if self.rows[end].is_none() {
            self.rows[end] = Some(ring.register_file(fd).unwrap());
        }
        self.rows[end]
    }

    /// Where splices go.
    pub(super) fn beside(&self) -> types::Fd {
        types::Fd(self.beside.1.as_raw_fd())
    }

    /// Where an entry reads or writes.
    pub(super) fn offset(&self, at: At<'_>) -> u64 {
        match self.place {
            Place::File => match at.number % 40 {
                // Beyond the end.
                39 => 1000,
                offset => offset,
            },
            _ => u64::MAX,
        }
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
        if let (Place::Listener, Some(dir)) = (self.place, &self.address) {
            self.clients
                .push(UnixStream::connect(dir.path().join("l")).unwrap());
        }
    }

    pub(super) fn can_close(&self) -> bool {
        self.writer.is_some() && self.place.can_close()
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

    /// There is something to be read.
    pub(super) fn has_arrived(&self) -> bool {
        poll_now(self.reader.as_raw_fd(), libc::POLLIN as u32) != 0
    }

    /// Something can be written; or nothing ever again.
    pub(super) fn has_room(&self) -> bool {
        let writer = self.writer.as_ref();
        writer.is_none_or(|writer| poll_now(writer.as_raw_fd(), libc::POLLOUT as u32) != 0)
    }

    /// What the memory of all entries holds, and what is left in the descriptors.
    pub(super) fn remains(&mut self) -> Vec<String> {
        let mail = self.mail();
        let picked = self.buffers.bytes.iter().map(|bytes| bytes.to_vec());
        let memory = self.memory.iter().map(|memory| memory.bytes.to_vec());
        let mut all: Vec<Vec<u8>> = memory.chain(picked).collect();
        let mut left = self.place.remains(&self.reader, remaining);
        left.extend(remaining(self.beside.0.as_raw_fd()));
        left.extend(mail);
        all.push(left);
        all.iter().map(|bytes| told(bytes)).collect()
    }

    fn memory(&mut self, fill: u8) -> &mut Memory {
        self.memory.push(Box::new(Memory {
            bytes: [fill; ROOM],
            vectors: [libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            }; 2],
            // SAFETY: all zeros are a header that says nothing.
            header: unsafe { std::mem::zeroed() },
            time: types::Timespec::new(),
            // SAFETY: all zeros are a status that says nothing.
            status: unsafe { std::mem::zeroed() },
        }));
        self.memory.last_mut().unwrap()
    }

    /// Room for a read, or bytes to be written.
    pub(super) fn room(&mut self, fill: u8) -> *mut u8 {
        self.memory(fill).bytes.as_mut_ptr()
    }

    /// That of the last entry which has any.
    pub(super) fn last_memory(&self) -> &[u8] {
        self.memory.last().map_or(&[], |memory| &memory.bytes)
    }

    /// The same in two parts.
    pub(super) fn vectors(&mut self, fill: u8, len: u16) -> *const libc::iovec {
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

    pub(super) fn time(&mut self, soon: bool) -> *const types::Timespec {
        self.time_by(soon, Clock::FromNow)
    }

    pub(super) fn time_by(&mut self, soon: bool, clock: Clock) -> *const types::Timespec {
        let memory = self.memory(0);
        memory.time = types::Timespec::from(clock.shows(if soon { SOON } else { NEVER }));
        &raw const memory.time
    }

    pub(super) fn limit(&mut self, soon: bool, clock: Clock) -> squeue::Entry {
        let limit = opcode::LinkTimeout::new(self.time_by(soon, clock));
        limit.flags(clock.flags()).build()
    }

    /// A header for so many bytes, in two parts.
    pub(super) fn header(&mut self, fill: u8, len: u16) -> *mut libc::msghdr {
        let vectors = self.vectors(fill, len);
        let memory = self.memory.last_mut().unwrap();
        memory.header.msg_iov = vectors.cast_mut();
        memory.header.msg_iovlen = 2;
        &raw mut memory.header
    }

    /// Room for what is known of a file.
    pub(super) fn status(&mut self) -> *mut libc::statx {
        &raw mut self.memory(0).status
    }

    /// The other ring, to which messages are sent.
    pub(super) fn peer(&self) -> types::Fd {
        let peer = self.peer.as_ref();
        types::Fd(peer.map_or(-1, |(_, known_as)| known_as.as_raw_fd()))
    }

    /// What has been sent there.
    fn mail(&mut self) -> Vec<u8> {
        let mut batch = Vec::new();
        let (began, sent) = (Instant::now(), self.mailed);
        while let Some((peer, _)) = &mut self.peer
            && batch.len() < sent
            && began.elapsed() < PATIENCE
        {
            peer.enter(Wait::AtMost(Some(SHORTLY))).unwrap();
            peer.reap(&mut batch);
        }
        // Nobody says in which order they come.
        batch.sort_by_key(|completion| completion.user_data);
        let told = |c: &Completion| format!("{} {} {};", c.user_data, c.result, c.flags);
        batch.iter().map(told).collect::<String>().into_bytes()
    }
}

/// Bytes and how many there are of each in a row, to be read by those who look for a difference.
fn told(bytes: &[u8]) -> String {
    let runs = bytes.chunk_by(|one, other| one == other);
    runs.map(|run| format!("{:02x}*{} ", run[0], run.len()))
        .collect()
}

/// A ring of the same kind, and what it is known as.
fn another(ring: &Ring) -> (Ring, OwnedFd) {
    let setup = Setup {
        driver: ring.kind(),
        ..Setup::default()
    };
    let (mut ring, _) = Ring::new(&setup).unwrap();
    let fd = ring.as_fd().unwrap().try_clone_to_owned().unwrap();
    ring.known_as(fd.as_raw_fd());
    (ring, fd)
}

/// What is there to be read.
fn remaining(fd: RawFd) -> Vec<u8> {
    let mut all = Vec::new();
    while poll_now(fd, libc::POLLIN as u32) > 0 {
        let mut bytes = [0; 70_000];
        // SAFETY: it is open: whoever asks has it.
        match rustix::io::read(unsafe { BorrowedFd::borrow_raw(fd) }, &mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(n) => all.extend(&bytes[..n]),
        }
    }
    all
}

//! Situations that are not left to chance, the same on both rings.

mod buffers;
mod cancels;
mod chains;
mod children;
mod fields;
mod messages;
mod overflow;
mod refused;
mod regions;
mod rows;
mod sends;
mod sockets;
mod tables;
mod times;
mod words;

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, Fd, Timespec};
use io_uring::{cqueue, opcode, squeue};

use super::PATIENCE;
use crate::ring::registered::Tables;
use crate::ring::{DriverKind, Ring, Setup, Sqe, Wait};

pub(super) const ANYBODY: u64 = 0xffff_ffff;
/// Words of 32 bits, that only this process knows.
pub(super) const PRIVATE: u32 = 2 | 128;

pub(super) struct Tried {
    pub(super) ring: Ring,
    /// Number, result, and whether more are to come, in the order in which they came.
    pub(super) told: Vec<(u64, i32, bool)>,
    /// Of each, the number of the buffer that was picked.
    pub(super) picked: Vec<Option<u16>>,
    /// Of each, whether that has room left.
    pub(super) leaves: Vec<bool>,
    /// The numbers of those that were notifications.
    pub(super) notified: Vec<u64>,
}

impl Tried {
    pub(super) fn new(ring: Ring) -> Tried {
        Tried {
            ring,
            told: Vec::new(),
            picked: Vec::new(),
            leaves: Vec::new(),
            notified: Vec::new(),
        }
    }

    pub(super) fn stage(&mut self, number: u64, entry: squeue::Entry) {
        // SAFETY: whatever it points at outlives the ring's hold of it, in each of these tests.
        let sqe = unsafe { Sqe::new(entry.user_data(number)) };
        assert!(self.ring.stage(&[sqe]));
    }

    pub(super) fn chain(&mut self, first: u64, chain: &[squeue::Entry]) {
        let last = chain.len() - 1;
        for (at, entry) in chain.iter().enumerate() {
            let link = match at {
                at if at == last => squeue::Flags::empty(),
                _ => squeue::Flags::IO_LINK,
            };
            self.stage(first + at as u64, entry.clone().flags(link));
        }
    }

    pub(super) fn look(&mut self, limit: Duration) {
        let mut batch = Vec::new();
        self.ring.enter(Wait::AtMost(Some(limit))).unwrap();
        self.ring.reap(&mut batch);
        let told = batch.iter().map(|c| (c.user_data, c.result, c.more()));
        self.told.extend(told);
        let picked = batch.iter().map(|c| cqueue::buffer_select(c.flags));
        self.picked.extend(picked);
        self.leaves
            .extend(batch.iter().map(|c| cqueue::buffer_more(c.flags)));
        let notified = batch.iter().filter(|c| c.is_notification());
        self.notified.extend(notified.map(|c| c.user_data));
    }

    /// Until there are so many completions.
    pub(super) fn until(&mut self, count: usize) {
        let began = Instant::now();
        while self.told.len() < count {
            self.look(Duration::from_secs(1));
            let (kind, told) = (self.ring.kind(), &self.told);
            assert!(began.elapsed() < PATIENCE, "{kind:?}: {told:?}");
        }
    }

    /// What has been told, by number; those that came later are behind.
    pub(super) fn take(&mut self) -> Vec<(u64, i32)> {
        self.picked.clear();
        self.leaves.clear();
        self.notified.clear();
        let mut told: Vec<_> = self.told.drain(..).map(|(n, r, _)| (n, r)).collect();
        told.sort_by_key(|(number, _)| *number);
        told
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.told.iter().any(|told| told.0 == number)
    }

    /// What one entry is answered.
    pub(super) fn one(&mut self, entry: squeue::Entry) -> i32 {
        self.stage(1, entry);
        self.until(1);
        self.take()[0].1
    }

    pub(super) fn tables(&mut self) -> &mut dyn Tables {
        self.ring.tables().unwrap()
    }

    pub(super) fn quiet(&mut self) -> bool {
        let before = self.told.len();
        (0..3).for_each(|_| self.look(Duration::ZERO));
        self.told.len() == before
    }
}

/// One of each kind, the kernel's first.
pub(super) fn rings() -> [Tried; 2] {
    [DriverKind::Kernel, DriverKind::Poll].map(|driver| {
        let setup = Setup {
            driver,
            ..Setup::default()
        };
        Tried::new(Ring::new(&setup).unwrap().0)
    })
}

pub(super) fn on_both(test: impl Fn(&mut Tried)) {
    for mut tried in rings() {
        test(&mut tried);
        assert!(tried.quiet(), "{:?}: {:?}", tried.ring.kind(), tried.told);
    }
}

pub(super) fn pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader.into(), writer.into())
}

pub(super) fn poll_of(fd: &OwnedFd) -> squeue::Entry {
    opcode::PollAdd::new(Fd(fd.as_raw_fd()), libc::POLLIN as u32).build()
}

pub(super) fn all() -> squeue::Entry {
    opcode::AsyncCancel2::new(CancelBuilder::any().all()).build()
}

pub(super) static NEVER: Timespec = Timespec::new().sec(3600);
pub(super) static SOON: Timespec = Timespec::new().nsec(1_000_000);

/// A client and a server, both of which wait as they are.
pub(super) fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

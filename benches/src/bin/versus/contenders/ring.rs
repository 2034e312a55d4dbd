//! A loop over io_uring by hand: no runtime, no tasks. What it spends is what the kernel takes and little more.
//!
//! The flags are the best there are for one thread; the descriptor of the ring is registered. One receive or one send is
//! in flight on a connection, as in the others: no multishot, no provided buffers.
#![allow(unsafe_code, reason = "entries point at the connections' buffers")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use io_uring::squeue::Entry;
use io_uring::{IoUring, SubmissionQueue, Submitter, cqueue, opcode, types};
use rustix::net::{SendFlags, SocketFlags, sockopt};

use super::{Contender, Job, Service};
use crate::works;

pub(super) const CONTENDER: Contender = Contender {
    name: "ring",
    about: "a loop over io_uring by hand: the baseline",
    services: &[(Service::Echo, echo)],
    works: works::ring::WORKS,
};

/// As many as Annulet has by default.
const ENTRIES: u32 = 256;
const COMPLETIONS: u32 = 4096;

const NOSIGNAL: i32 = SendFlags::NOSIGNAL.bits().cast_signed();

/// `user_data` of the accept; connections have their index.
const ACCEPT: u64 = u64::MAX;

struct Connection {
    socket: OwnedFd,
    /// Its heap block does not move; the kernel has it while an entry of this connection's is in flight.
    buf: Box<[u8]>,
    /// What of `buf` is to be sent: empty while receiving.
    from: usize,
    to: usize,
}

impl Connection {
    fn receive(&mut self, index: usize) -> Entry {
        (self.from, self.to) = (0, 0);
        let len = self.buf.len() as u32;
        opcode::Recv::new(
            types::Fd(self.socket.as_raw_fd()),
            self.buf.as_mut_ptr(),
            len,
        )
        .build()
        .user_data(index as u64)
    }

    fn send(&self, index: usize) -> Entry {
        let rest = &self.buf[self.from..self.to];
        let len = rest.len() as u32;
        opcode::Send::new(types::Fd(self.socket.as_raw_fd()), rest.as_ptr(), len)
            .flags(NOSIGNAL)
            .build()
            .user_data(index as u64)
    }

    /// What follows a completion; none: the connection has ended.
    fn advance(&mut self, index: usize, result: i32) -> Option<Entry> {
        let n = usize::try_from(result).ok()?;
        if self.from < self.to {
            self.from += n;
        } else {
            self.to = n;
            if n == 0 {
                return None;
            }
        }
        Some(if self.from < self.to {
            self.send(index)
        } else {
            self.receive(index)
        })
    }
}

fn echo(job: &Job) -> io::Result<()> {
    let listener = job.listen(SocketFlags::empty())?;
    let mut ring: IoUring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_no_sqarray()
        .setup_cqsize(COMPLETIONS)
        .build(ENTRIES)?;
    let (mut submitter, mut queue, mut completions) = ring.split();
    submitter.register_ring_fd()?;

    let accept = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd())).build();
    let accept = accept.user_data(ACCEPT);
    stage(&submitter, &mut queue, &accept)?;

    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    loop {
        queue.sync();
        match submitter.submit_and_wait(1) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => completions.sync(),
        }
        for completion in &mut completions {
            let result = completion.result();
            let next = if completion.user_data() == ACCEPT {
                if !cqueue::more(completion.flags()) {
                    stage(&submitter, &mut queue, &accept)?;
                }
                let connection = connect(result, job)?;
                let index = free.pop().unwrap_or_else(|| {
                    connections.push(None);
                    connections.len() - 1
                });
                Some(connections[index].insert(connection).receive(index))
            } else {
                let index = completion.user_data() as usize;
                let next = connections[index]
                    .as_mut()
                    .and_then(|c| c.advance(index, result));
                if next.is_none() {
                    connections[index] = None;
                    free.push(index);
                }
                next
            };
            if let Some(entry) = next {
                stage(&submitter, &mut queue, &entry)?;
            }
        }
    }
}

fn connect(result: i32, job: &Job) -> io::Result<Connection> {
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    // SAFETY: the accept's result is a new descriptor that nobody else knows.
    let socket = unsafe { OwnedFd::from_raw_fd(result) };
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(Connection {
        socket,
        buf: vec![0; job.buffer].into(),
        from: 0,
        to: 0,
    })
}

fn stage(
    submitter: &Submitter<'_>,
    queue: &mut SubmissionQueue<'_>,
    entry: &Entry,
) -> io::Result<()> {
    // SAFETY: it points at a connection's buffer (or at nothing), which stays until the entry's completion: a connection
    // has one entry in flight and is dropped as it completes; its slice is borrowed by nobody meanwhile.
    while unsafe { queue.push(entry) }.is_err() {
        queue.sync();
        submitter.submit()?;
        queue.sync();
    }
    Ok(())
}

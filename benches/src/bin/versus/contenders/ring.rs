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

use super::answers::Answers;
use super::{Contender, Job, Service};
use crate::works;

pub(super) const CONTENDER: Contender = Contender {
    name: "ring",
    about: "a loop over io_uring by hand: the baseline",
    services: &[
        (Service::Echo, |job| serve(job, Service::Echo)),
        (Service::Sink, |job| serve(job, Service::Sink)),
        (Service::Source, |job| serve(job, Service::Source)),
        (Service::Once, |job| serve(job, Service::Once)),
        (Service::Http, |job| serve(job, Service::Http)),
    ],
    works: works::ring::WORKS,
};

/// As many as Annulet has by default.
const ENTRIES: u32 = 256;
const COMPLETIONS: u32 = 4096;

pub(super) const NOSIGNAL: i32 = SendFlags::NOSIGNAL.bits().cast_signed();

/// `user_data` of the accept; connections have their index.
const ACCEPT: u64 = u64::MAX;

struct Connection {
    socket: OwnedFd,
    /// Its heap block does not move; the kernel has it while an entry of this connection's is in flight.
    buf: Box<[u8]>,
    /// Nothing to be sent while receiving.
    answers: Answers,
}

impl Connection {
    fn receive(&mut self, index: usize) -> Entry {
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
        let rest = self.answers.rest(&self.buf);
        let len = rest.len() as u32;
        opcode::Send::new(types::Fd(self.socket.as_raw_fd()), rest.as_ptr(), len)
            .flags(NOSIGNAL)
            .build()
            .user_data(index as u64)
    }

    /// What follows a completion; none: the connection has ended.
    fn advance(&mut self, index: usize, result: i32) -> Option<Entry> {
        let n = usize::try_from(result).ok()?;
        if self.answers.is_sending() {
            self.answers.sent(n);
        } else if n == 0 {
            return None;
        } else {
            self.answers.receive(&self.buf[..n]);
        }
        if self.answers.is_sending() {
            Some(self.send(index))
        } else if self.answers.is_over() {
            None
        } else {
            Some(self.receive(index))
        }
    }
}

fn serve(job: &Job, service: Service) -> io::Result<()> {
    let listener = job.listen(SocketFlags::empty())?;
    let mut ring = ring()?;
    let (mut submitter, mut queue, mut completions) = ring.split();
    submitter.register_ring_fd()?;

    let accept = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd())).build();
    let accept = accept.user_data(ACCEPT);
    // SAFETY: it points at nothing.
    unsafe { stage(&submitter, &mut queue, &accept)? };

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
                    // SAFETY: it points at nothing.
                    unsafe { stage(&submitter, &mut queue, &accept)? };
                }
                let connection = connect(result, job, service)?;
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
                // SAFETY: it points at a connection's buffer, which stays until the entry's completion: a connection has one
                // entry in flight and is dropped as it completes; or at what stays for ever. Nobody borrows it meanwhile.
                unsafe { stage(&submitter, &mut queue, &entry)? };
            }
        }
    }
}

/// With the flags that suit one thread best.
pub(super) fn ring() -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_no_sqarray()
        .setup_cqsize(COMPLETIONS)
        .build(ENTRIES)
}

fn connect(result: i32, job: &Job, service: Service) -> io::Result<Connection> {
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    // SAFETY: the accept's result is a new descriptor that nobody else knows.
    let socket = unsafe { OwnedFd::from_raw_fd(result) };
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(Connection {
        socket,
        buf: vec![0; job.buffer].into(),
        answers: Answers::new(service),
    })
}

/// # Safety
///
/// What the entry points at must stay, and be nobody else's, until its completion.
pub(super) unsafe fn stage(
    submitter: &Submitter<'_>,
    queue: &mut SubmissionQueue<'_>,
    entry: &Entry,
) -> io::Result<()> {
    // SAFETY: as the caller says.
    while unsafe { queue.push(entry) }.is_err() {
        queue.sync();
        submitter.submit()?;
        queue.sync();
    }
    Ok(())
}

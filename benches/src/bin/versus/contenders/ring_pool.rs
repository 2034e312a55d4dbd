//! A loop over io_uring by hand with all the tricks: no connection has a buffer of its own. The kernel picks one as data
//! arrives, from a ring of provided buffers, and the answer is sent from there.
//!
//! The provided ring itself is first in, first out, and would go through all buffers in turn, and through the cache with
//! them. So only a few are offered at a time, topped up before each enter with those that were used last.
#![allow(unsafe_code, reason = "the kernel writes to the pool's buffers")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::squeue::Flags;
use io_uring::types::{BufRingEntry, Fd};
use io_uring::{SubmissionQueue, Submitter, cqueue, opcode};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::net::{SendFlags, SocketFlags, send, sockopt};

use super::answers::Answers;
use super::ring::{NOSIGNAL, ring, stage};
use super::{Contender, Job, Service};

pub(super) const CONTENDER: Contender = Contender {
    name: "ring-pool",
    about: "a loop over io_uring by hand, multishot receives into a shared pool of buffers",
    services: &[
        (Service::Echo, |job| serve(job, Service::Echo)),
        (Service::Sink, |job| serve(job, Service::Sink)),
        (Service::Source, |job| serve(job, Service::Source)),
        (Service::Once, |job| serve(job, Service::Once)),
        (Service::Http, |job| serve(job, Service::Http)),
    ],
    works: &[],
};

/// Buffers there are; only those that are used take memory.
const BUFFERS: u16 = 4096;
/// Buffers offered at a time: more than one enter takes.
const OFFERED: u16 = 64;

/// As much as this is sent by a call that does not wait, and by the ring only what the socket does not take: through the
/// ring it is a third dearer, as the calls that it saves weigh nothing beside so many bytes, and all that was received
/// in one enter would be sent in the next, when it has left the cache.
const LARGE: usize = 32 * 1024;
/// So is all where no more than so many completions come at a time: an answer is on its way at once then, and its
/// completion is none that the next enter would return for.
const FEW: usize = 8;

/// `user_data`: an index of a connection above its kind.
const KINDS: u64 = 2;
const RECEIVE: u64 = 0;
const SEND: u64 = 1;
const ACCEPT: u64 = u64::MAX;

/// Buffers, and those of them that the kernel may pick. Never freed: the process is killed.
struct Pool {
    memory: *mut u8,
    size: usize,
    ring: *mut BufRingEntry,
    tail: u16,
    offered: u16,
    /// The last is lent first.
    free: Vec<u16>,
}

impl Pool {
    fn new(submitter: &Submitter<'_>, size: usize) -> io::Result<Pool> {
        let memory = map(usize::from(BUFFERS) * size)?;
        let ring = map(usize::from(BUFFERS) * size_of::<BufRingEntry>())?;
        // SAFETY: the mapping is as long as so many entries are, on a page's edge, and there until the process ends.
        unsafe { submitter.register_buf_ring_with_flags(ring as u64, BUFFERS, 0, 0)? };
        Ok(Pool {
            memory,
            size,
            ring: ring.cast(),
            tail: 0,
            offered: 0,
            free: (0..BUFFERS).rev().collect(),
        })
    }

    fn buffer(&self, id: u16) -> *mut u8 {
        self.memory.wrapping_add(usize::from(id) * self.size)
    }

    /// What was received into a buffer that has been picked and not given back.
    fn bytes(&self, id: u16, len: usize) -> &[u8] {
        // SAFETY: within the mapping, whose bytes are all initialized; the kernel writes to a buffer only while it is offered,
        // and `give_back` and `offer` need `&mut self`.
        unsafe { std::slice::from_raw_parts(self.buffer(id), len.min(self.size)) }
    }

    fn picked(&mut self, id: u16) -> u16 {
        self.offered -= 1;
        id
    }

    fn give_back(&mut self, id: u16) {
        self.free.push(id);
    }

    fn offer(&mut self) {
        let before = self.tail;
        while self.offered < OFFERED {
            let Some(id) = self.free.pop() else { break };
            let place = self.tail % BUFFERS;
            // SAFETY: within the mapping; the kernel reads an entry only once the tail is behind it.
            let entry = unsafe { &mut *self.ring.add(usize::from(place)) };
            entry.set_addr(self.buffer(id) as u64);
            entry.set_len(self.size as u32);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            self.offered += 1;
        }
        if self.tail != before {
            // SAFETY: the tail lies in a part of the first entry that nobody else names, aligned, in the mapping.
            let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.ring).cast_mut()) };
            tail.store(self.tail, Ordering::Release);
        }
    }
}

fn map(len: usize) -> io::Result<*mut u8> {
    let readable = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, wherever the kernel likes.
    let memory = unsafe {
        mmap_anonymous(
            std::ptr::null_mut(),
            len,
            readable,
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )?
    };
    Ok(memory.cast())
}

struct Connection {
    socket: OwnedFd,
    answers: Answers,
    /// Buffers with what was received and not answered yet; the first is being answered while `sending`.
    received: VecDeque<(u16, usize)>,
    sending: bool,
    receiving: bool,
    /// The peer sends no more, or we have said all.
    over: bool,
}

impl Connection {
    /// By calls, if it is `least` bytes or more.
    fn send_now(&mut self, received: &[u8], least: usize) {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            let rest = self.answers.rest(received);
            if rest.is_empty() || rest.len() < least {
                return;
            }
            match send(&self.socket, rest, flags) {
                Ok(n) => self.answers.sent(n),
                // The ring's send waits, or meets the same error.
                Err(_) => return,
            }
        }
    }
}

struct Server<'r> {
    submitter: Submitter<'r>,
    queue: SubmissionQueue<'r>,
    service: Service,
    /// As much as this is sent by a call.
    least: usize,
    pool: Pool,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Connections that are to receive.
    idle: Vec<usize>,
}

impl Server<'_> {
    fn accepted(&mut self, result: i32) -> io::Result<()> {
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        // SAFETY: the accept's result is a new descriptor that nobody else knows.
        let socket = unsafe { OwnedFd::from_raw_fd(result) };
        sockopt::set_tcp_nodelay(&socket, true)?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.connections[index] = Some(Connection {
            socket,
            answers: Answers::new(self.service),
            received: VecDeque::new(),
            sending: false,
            receiving: false,
            over: false,
        });
        self.idle.push(index);
        Ok(())
    }

    fn send(&mut self, index: usize) -> io::Result<()> {
        let Some(connection) = &self.connections[index] else {
            return Ok(());
        };
        let Some((id, len)) = connection.received.front() else {
            return Ok(());
        };
        let rest = connection.answers.rest(self.pool.bytes(*id, *len));
        let fd = Fd(connection.socket.as_raw_fd());
        let entry = opcode::Send::new(fd, rest.as_ptr(), rest.len() as u32)
            .flags(NOSIGNAL)
            .build()
            .user_data(index as u64 * KINDS + SEND);
        // SAFETY: it points at the front buffer, which is given back once its completion has come, or at what stays for ever.
        unsafe { stage(&self.submitter, &mut self.queue, &entry) }
    }

    fn received(&mut self, index: usize, result: i32, flags: u32) -> io::Result<()> {
        let picked = cqueue::buffer_select(flags).map(|id| self.pool.picked(id));
        let Some(connection) = &mut self.connections[index] else {
            return Ok(());
        };
        connection.receiving = cqueue::more(flags);
        match (usize::try_from(result), picked) {
            (Ok(n), Some(id)) if n > 0 => connection.received.push_back((id, n)),
            (_, Some(id)) => {
                connection.over = true;
                self.pool.give_back(id);
            }
            (_, None) => connection.over |= result != -Errno::NOBUFS.raw_os_error(),
        }
        if connection.sending {
            return Ok(());
        }
        self.answer(index)
    }

    fn sent(&mut self, index: usize, result: i32) -> io::Result<()> {
        let Some(connection) = &mut self.connections[index] else {
            return Ok(());
        };
        match usize::try_from(result) {
            Ok(n) => connection.answers.sent(n),
            Err(_) => connection.over = true,
        }
        if let Some(&(id, len)) = connection.received.front() {
            connection.send_now(self.pool.bytes(id, len), self.least);
        }
        if connection.answers.is_sending() && !connection.over {
            return self.send(index);
        }
        connection.sending = false;
        connection.over |= connection.answers.is_over();
        if let Some((id, _)) = connection.received.pop_front() {
            self.pool.give_back(id);
        }
        self.answer(index)
    }

    /// Goes on with what was received, until something is to be sent; with nothing left, the connection receives again, or
    /// ends.
    fn answer(&mut self, index: usize) -> io::Result<()> {
        let Some(connection) = &mut self.connections[index] else {
            return Ok(());
        };
        while let Some(&(id, len)) = connection.received.front() {
            let bytes = self.pool.bytes(id, len);
            connection.answers.receive(bytes);
            connection.send_now(bytes, self.least);
            if connection.answers.is_sending() {
                connection.sending = true;
                return self.send(index);
            }
            connection.over |= connection.answers.is_over();
            connection.received.pop_front();
            self.pool.give_back(id);
        }
        if connection.receiving {
            return Ok(());
        }
        if connection.over {
            self.connections[index] = None;
            self.free.push(index);
        } else {
            self.idle.push(index);
        }
        Ok(())
    }

    /// To be called before each enter.
    fn replenish(&mut self) -> io::Result<()> {
        self.pool.offer();
        while self.pool.offered > 0
            && let Some(index) = self.idle.pop()
        {
            let Some(connection) = &mut self.connections[index] else {
                continue;
            };
            connection.receiving = true;
            let fd = Fd(connection.socket.as_raw_fd());
            // One that is used once is received from once: a multishot would have to be cancelled.
            let entry = if self.service == Service::Once {
                let one = opcode::Recv::new(fd, std::ptr::null_mut(), self.pool.size as u32);
                one.build().flags(Flags::BUFFER_SELECT)
            } else {
                opcode::RecvMulti::new(fd, 0).build()
            };
            let entry = entry.user_data(index as u64 * KINDS + RECEIVE);
            // SAFETY: it points at nothing; the kernel picks a buffer that is offered.
            unsafe { stage(&self.submitter, &mut self.queue, &entry)? };
        }
        Ok(())
    }

    fn accept(&mut self, listener: &OwnedFd) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).build();
        // SAFETY: it points at nothing.
        unsafe { stage(&self.submitter, &mut self.queue, &accept.user_data(ACCEPT)) }
    }
}

fn serve(job: &Job, service: Service) -> io::Result<()> {
    let listener = job.listen(SocketFlags::empty())?;
    let mut ring = ring()?;
    let (mut submitter, queue, mut completions) = ring.split();
    submitter.register_ring_fd()?;
    let mut server = Server {
        pool: Pool::new(&submitter, job.buffer)?,
        submitter,
        queue,
        service,
        least: LARGE,
        connections: Vec::new(),
        free: Vec::new(),
        idle: Vec::new(),
    };
    server.accept(&listener)?;
    loop {
        server.replenish()?;
        server.queue.sync();
        match server.submitter.submit_and_wait(1) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => completions.sync(),
        }
        server.least = if completions.len() <= FEW { 0 } else { LARGE };
        for completion in &mut completions {
            let (result, flags) = (completion.result(), completion.flags());
            match completion.user_data() {
                ACCEPT => {
                    if !cqueue::more(flags) {
                        server.accept(&listener)?;
                    }
                    server.accepted(result)?;
                }
                data if data % KINDS == RECEIVE => {
                    server.received((data / KINDS) as usize, result, flags)?;
                }
                data => server.sent((data / KINDS) as usize, result)?,
            }
        }
    }
}

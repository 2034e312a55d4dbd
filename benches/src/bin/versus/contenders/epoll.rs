//! A loop over epoll by hand, edge-triggered: the least that can be done without a ring.

use std::io;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt};

use super::answers::Answers;
use super::{Contender, Job, Service};

pub(super) const CONTENDER: Contender = Contender {
    name: "epoll",
    about: "a loop over epoll by hand, edge-triggered",
    services: &[
        (Service::Echo, |job| serve(job, Service::Echo)),
        (Service::Sink, |job| serve(job, Service::Sink)),
        (Service::Source, |job| serve(job, Service::Source)),
        (Service::Once, |job| serve(job, Service::Once)),
        (Service::Http, |job| serve(job, Service::Http)),
    ],
    works: &[],
};

/// The listener's event; connections have their index.
const ACCEPT: u64 = u64::MAX;

struct Connection {
    socket: OwnedFd,
    buf: Box<[u8]>,
    answers: Answers,
}

impl Connection {
    /// Answers until the socket has, or takes, no more; `false`: the connection has ended.
    ///
    /// A read of less than there was room for has emptied the socket, and the next bytes are an edge; unless the peer is
    /// `ending`, which was one.
    fn advance(&mut self, ending: bool) -> bool {
        let mut empty = false;
        loop {
            while self.answers.is_sending() {
                let rest = self.answers.rest(&self.buf);
                match send(&self.socket, rest, SendFlags::NOSIGNAL) {
                    Ok(n) => self.answers.sent(n),
                    Err(errno) => return errno == Errno::AGAIN,
                }
            }
            if self.answers.is_over() {
                return false;
            }
            if empty && !ending {
                return true;
            }
            let n = match recv(&self.socket, &mut self.buf[..], RecvFlags::empty()) {
                Ok((_, 0)) => return false,
                Ok((_, n)) => n,
                Err(errno) => return errno == Errno::AGAIN,
            };
            self.answers.receive(&self.buf[..n]);
            empty = n < self.buf.len();
        }
    }
}

fn serve(job: &Job, service: Service) -> io::Result<()> {
    let listener = job.listen(SocketFlags::NONBLOCK)?;
    let poller = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &poller,
        &listener,
        EventData::new_u64(ACCEPT),
        EventFlags::IN,
    )?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free = Vec::new();
    let mut events = Vec::with_capacity(1024);
    loop {
        events.clear();
        retry_on_intr(|| epoll::wait(&poller, spare_capacity(&mut events), None))?;
        for event in &events {
            // Copies: the kernel's layout is packed.
            let (flags, data) = (event.flags, event.data.u64());
            if data == ACCEPT {
                let index = free.pop().unwrap_or_else(|| {
                    connections.push(None);
                    connections.len() - 1
                });
                let connection = accept(job, service, &listener, &poller, index)?;
                connections[index] = Some(connection);
                continue;
            }
            let ending = flags.intersects(EventFlags::RDHUP | EventFlags::HUP);
            let index = data as usize;
            let connection = &mut connections[index];
            if connection.as_mut().is_some_and(|c| !c.advance(ending)) {
                *connection = None;
                free.push(index);
            }
        }
    }
}

fn accept(
    job: &Job,
    service: Service,
    listener: &OwnedFd,
    poller: &OwnedFd,
    index: usize,
) -> io::Result<Connection> {
    let socket = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    let wanted = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(poller, &socket, EventData::new_u64(index as u64), wanted)?;
    Ok(Connection {
        socket,
        buf: vec![0; job.buffer].into(),
        answers: Answers::new(service),
    })
}

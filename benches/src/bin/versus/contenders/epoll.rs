//! A loop over epoll by hand, edge-triggered: the least that can be done without a ring.

use std::io;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt};

use super::{Contender, Job, Service};

pub(super) const CONTENDER: Contender = Contender {
    name: "epoll",
    about: "a loop over epoll by hand, edge-triggered",
    services: &[(Service::Echo, echo)],
    works: &[],
};

/// The listener's event; connections have their index.
const ACCEPT: u64 = u64::MAX;

struct Connection {
    socket: OwnedFd,
    buf: Box<[u8]>,
    /// What of `buf` is to be sent.
    from: usize,
    to: usize,
}

impl Connection {
    /// Echoes until the socket has, or takes, no more; `false`: the connection has ended.
    ///
    /// A read of less than there was room for has emptied the socket, and the next bytes are an edge; unless the peer is
    /// `ending`, which was one.
    fn advance(&mut self, ending: bool) -> bool {
        let mut empty = false;
        loop {
            while self.from < self.to {
                match send(
                    &self.socket,
                    &self.buf[self.from..self.to],
                    SendFlags::NOSIGNAL,
                ) {
                    Ok(n) => self.from += n,
                    Err(errno) => return errno == Errno::AGAIN,
                }
            }
            if empty && !ending {
                return true;
            }
            match recv(&self.socket, &mut self.buf[..], RecvFlags::empty()) {
                Ok((_, 0)) => return false,
                Ok((_, n)) => (self.from, self.to) = (0, n),
                Err(errno) => return errno == Errno::AGAIN,
            }
            empty = self.to < self.buf.len();
        }
    }
}

fn echo(job: &Job) -> io::Result<()> {
    let listener = job.listen(SocketFlags::NONBLOCK)?;
    let poller = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &poller,
        &listener,
        EventData::new_u64(ACCEPT),
        EventFlags::IN,
    )?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Vec::with_capacity(1024);
    loop {
        events.clear();
        retry_on_intr(|| epoll::wait(&poller, spare_capacity(&mut events), None))?;
        for event in &events {
            // Copies: the kernel's layout is packed.
            let (flags, data) = (event.flags, event.data.u64());
            if data == ACCEPT {
                accept(job, &listener, &poller, &mut connections)?;
                continue;
            }
            let ending = flags.intersects(EventFlags::RDHUP | EventFlags::HUP);
            let connection = &mut connections[data as usize];
            if connection.as_mut().is_some_and(|c| !c.advance(ending)) {
                *connection = None;
            }
        }
    }
}

fn accept(
    job: &Job,
    listener: &OwnedFd,
    poller: &OwnedFd,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    let socket = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    let free = connections
        .iter()
        .position(Option::is_none)
        .unwrap_or(connections.len());
    let wanted = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(poller, &socket, EventData::new_u64(free as u64), wanted)?;
    let connection = Connection {
        socket,
        buf: vec![0; job.buffer].into(),
        from: 0,
        to: 0,
    };
    if free == connections.len() {
        connections.push(Some(connection));
    } else {
        connections[free] = Some(connection);
    }
    Ok(())
}

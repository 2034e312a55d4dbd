//! Who is compared, a file each: their servers. What they do by themselves, without a client, is in [`works`](crate::works).
//!
//! A contender is what its makers tell their users to write, on one thread. To add one: a file with a `CONTENDER`, its
//! line in [`ALL`].

mod annulet;
mod annulet_hyper;
mod annulet_poll;
mod answers;
#[cfg(feature = "peers")]
pub(crate) mod compio;
mod epoll;
#[cfg(feature = "peers")]
mod glommio;
mod hello;
#[cfg(feature = "peers")]
pub(crate) mod monoio;
mod pread;
mod ring;
mod ring_pool;
pub(crate) mod services;
mod tokio;
#[cfg(feature = "peers")]
mod tokio_uring;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};
use serde::{Deserialize, Serialize};

use crate::workloads::{Kind, Workload};
use crate::works::{Run, Work};

/// All of them, in the order they take turns.
pub(crate) static ALL: &[Contender] = &[
    annulet::CONTENDER,
    annulet::READ,
    annulet::CHUNKS,
    annulet::INCREMENTAL,
    annulet_poll::CONTENDER,
    tokio::CONTENDER,
    #[cfg(feature = "peers")]
    monoio::CONTENDER,
    #[cfg(feature = "peers")]
    monoio::TUNED,
    #[cfg(feature = "peers")]
    compio::CONTENDER,
    #[cfg(feature = "peers")]
    compio::TUNED,
    #[cfg(feature = "peers")]
    compio::MULTI,
    #[cfg(feature = "peers")]
    glommio::CONTENDER,
    #[cfg(feature = "peers")]
    tokio_uring::CONTENDER,
    ring::CONTENDER,
    ring_pool::CONTENDER,
    epoll::CONTENDER,
    pread::CONTENDER,
];

/// The loops over a ring by hand: whichever of them is cheaper is the floor, the least that can be done on a ring.
pub(crate) const FLOORS: &[&str] = &[ring::CONTENDER.name, ring_pool::CONTENDER.name];

/// One of those compared.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// The services it offers; each runs until the process is killed.
    pub(crate) services: &'static [(Service, Serve)],
    /// What it does by itself.
    pub(crate) works: &'static [(Work, Run)],
}

pub(crate) type Serve = fn(&Job) -> io::Result<()>;

/// What a server does; several workloads can ask for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Service {
    /// Accepts connections, with `TCP_NODELAY`, and on each sends back what it reads, read by read, until the end.
    Echo,
    /// As long as a connection lasts, reads, and answers each [`BLOCK`](services::BLOCK) received with its last byte.
    Sink,
    /// For every byte it reads, sends a [`BLOCK`](services::BLOCK) of [`pattern`](services::pattern), a chunk a write.
    Source,
    /// Reads once, sends that back, closes the connection.
    Once,
    /// HTTP/1.1: answers every request with [`BODY`](services::BODY).
    Http,
}

/// What a server is told.
#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    /// Bytes of the one buffer a connection has.
    pub(crate) buffer: usize,
    /// As many will be made; for those who have to say beforehand how many buffers they share.
    pub(crate) connections: usize,
}

impl Contender {
    pub(crate) fn service(&self, service: Service) -> Option<Serve> {
        self.services
            .iter()
            .find(|(offered, _)| *offered == service)
            .map(|(_, serve)| *serve)
    }

    /// Whether it has what the workload asks for.
    pub(crate) fn is_able(&self, workload: &Workload) -> bool {
        match workload.kind {
            Kind::Served { service, .. } => self.service(service).is_some(),
            Kind::Alone(work) => self.work(work).is_some(),
        }
    }

    pub(crate) fn work(&self, work: Work) -> Option<Run> {
        let found = self.works.iter().find(|(known, _)| *known == work);
        found.map(|(_, run)| *run)
    }
}

impl Job {
    /// Where to listen.
    pub(crate) fn addr(&self) -> SocketAddr {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into()
    }

    /// To be called once, when connections can be made to `addr`.
    pub(crate) fn listening(&self, addr: SocketAddr) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{addr}")?;
        out.flush()
    }

    /// A listener for those who start from nothing, announced.
    fn listen(&self, flags: SocketFlags) -> io::Result<OwnedFd> {
        let flags = flags | SocketFlags::CLOEXEC;
        let listener = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        bind(&listener, &self.addr())?;
        listen(&listener, 1024)?;
        self.listening(getsockname(&listener)?.try_into()?)?;
        Ok(listener)
    }
}

/// Those that have what the workload asks for.
pub(crate) fn able(workload: &Workload) -> Vec<&'static Contender> {
    ALL.iter().filter(|c| c.is_able(workload)).collect()
}

pub(crate) fn named(name: &str) -> Result<&'static Contender, String> {
    let found = ALL.iter().find(|contender| contender.name == name);
    found.ok_or_else(|| format!("no contender is called `{name}`"))
}

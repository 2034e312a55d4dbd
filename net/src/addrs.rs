//! Addresses, and names that stand for addresses.
//!
//! Looking a name up means files, sockets and waiting inside the C library, so it is done on a thread of the
//! [`blocking`] pool. An address that is one already never goes there.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use annulet_driver::Op;
use annulet_driver::op::Timeout;

use self::sealed::Resolve;

/// What can be turned into one or more socket addresses.
///
/// The types are those of [`std::net::ToSocketAddrs`]: addresses, slices of addresses, strings such as
/// `"127.0.0.1:80"` and `"localhost:80"`, and pairs of a host and a port. Addresses, written as a string or
/// not, are used as they are; names are looked up on a thread of their own, as the C library does it
/// (`getaddrinfo(3)`: `/etc/hosts`, DNS).
///
/// It is implemented here only.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::net::TcpListener;
///
/// let by_name = TcpListener::bind("localhost:0").await?;
/// let by_pair = TcpListener::bind(("127.0.0.1", 0)).await?;
/// let by_addr = TcpListener::bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).await?;
/// # let _ = (by_name, by_pair, by_addr);
/// # Ok(()) }) }
/// ```
pub trait ToSocketAddrs: Resolve {}

/// What an address argument stands for.
pub(crate) use self::sealed::Addrs;

mod sealed {
    use std::net::SocketAddr;

    pub trait Resolve {
        /// The address or the name, as it is: nothing is looked up yet.
        fn resolve(&self) -> Addrs;
    }

    #[derive(Debug)]
    pub enum Addrs {
        One(SocketAddr),
        Many(Vec<SocketAddr>),
        /// A name with its port.
        Name(String),
        HostAndPort(String, u16),
    }
}

impl Addrs {
    /// Finds the addresses, at least one; a look-up, if one is needed, starts now and ends by `deadline`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there is none; `TimedOut` if `deadline` passes during the look-up; what the look-up
    /// reports.
    pub(crate) fn find(self, deadline: Option<Instant>) -> Finding {
        let found = match self {
            Addrs::One(addr) => Ok(Found::One(Some(addr))),
            Addrs::Many(addrs) => some_of(addrs),
            Addrs::Name(name) => return Finding::look_up(name, deadline),
            Addrs::HostAndPort(host, port) => return Finding::look_up((host, port), deadline),
        };
        Finding(Stage::Found(Some(found)))
    }
}

fn some_of(addrs: Vec<SocketAddr>) -> io::Result<Found> {
    if addrs.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "there is no address to use: the name or the list given has none",
        ));
    }
    Ok(Found::Many(addrs.into_iter()))
}

/// The future of [`Addrs::find`].
#[derive(Debug)]
pub(crate) struct Finding(Stage);

#[derive(Debug)]
enum Stage {
    Found(Option<io::Result<Found>>),
    /// Dropping the task gives up interest; a look-up that has begun runs to its end.
    Looking(
        blocking::Task<io::Result<Vec<SocketAddr>>>,
        Option<Op<Timeout>>,
    ),
}

impl Finding {
    fn look_up(
        of: impl std::net::ToSocketAddrs + Send + 'static,
        deadline: Option<Instant>,
    ) -> Finding {
        let task = blocking::unblock(move || of.to_socket_addrs().map(Iterator::collect));
        Finding::until(task, deadline)
    }

    pub(crate) fn until(
        task: blocking::Task<io::Result<Vec<SocketAddr>>>,
        deadline: Option<Instant>,
    ) -> Finding {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        Finding(Stage::Looking(
            task,
            left.map(|left| Op::new(Timeout::new(left))),
        ))
    }
}

impl Future for Finding {
    type Output = io::Result<Found>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Found>> {
        let (task, timer) = match &mut self.0 {
            Stage::Found(found) => {
                return Poll::Ready(found.take().expect("polled after it had resolved"));
            }
            Stage::Looking(task, timer) => (task, timer),
        };
        let found = match Pin::new(task).poll(cx) {
            Poll::Ready(found) => found.and_then(some_of),
            Poll::Pending => {
                let Some(timer) = timer else {
                    return Poll::Pending;
                };
                std::task::ready!(Pin::new(timer).poll(cx))?;
                Err(io::ErrorKind::TimedOut.into())
            }
        };
        self.0 = Stage::Found(None);
        Poll::Ready(found)
    }
}

/// Addresses to try in turn. One alone needs no memory.
#[derive(Debug)]
pub(crate) enum Found {
    One(Option<SocketAddr>),
    Many(std::vec::IntoIter<SocketAddr>),
}

impl Iterator for Found {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        match self {
            Found::One(addr) => addr.take(),
            Found::Many(addrs) => addrs.next(),
        }
    }
}

macro_rules! is_an_address {
    ($($type:ty),*) => {$(
        impl Resolve for $type {
            fn resolve(&self) -> Addrs {
                Addrs::One(SocketAddr::from(*self))
            }
        }
        impl ToSocketAddrs for $type {}
    )*};
}

is_an_address!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16)
);

impl Resolve for [SocketAddr] {
    fn resolve(&self) -> Addrs {
        Addrs::Many(self.to_vec())
    }
}

impl Resolve for str {
    fn resolve(&self) -> Addrs {
        match self.parse() {
            Ok(addr) => Addrs::One(addr),
            Err(_) => Addrs::Name(self.to_owned()),
        }
    }
}

impl Resolve for (&str, u16) {
    fn resolve(&self) -> Addrs {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(ip) => Addrs::One(SocketAddr::new(ip, port)),
            Err(_) => Addrs::HostAndPort(host.to_owned(), port),
        }
    }
}

impl Resolve for String {
    fn resolve(&self) -> Addrs {
        self.as_str().resolve()
    }
}

impl Resolve for (String, u16) {
    fn resolve(&self) -> Addrs {
        (self.0.as_str(), self.1).resolve()
    }
}

impl<T: Resolve + ?Sized> Resolve for &T {
    fn resolve(&self) -> Addrs {
        (**self).resolve()
    }
}

impl ToSocketAddrs for [SocketAddr] {}
impl ToSocketAddrs for str {}
impl ToSocketAddrs for (&str, u16) {}
impl ToSocketAddrs for String {}
impl ToSocketAddrs for (String, u16) {}
impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_looked_up(addrs: impl ToSocketAddrs) -> bool {
        matches!(addrs.resolve().find(None).0, Stage::Looking(..))
    }

    #[test]
    fn an_address_is_never_looked_up() {
        assert!(!is_looked_up(SocketAddr::from(([127, 0, 0, 1], 80))));
        assert!(!is_looked_up("127.0.0.1:80"));
        assert!(!is_looked_up("[::1]:80".to_owned()));
        assert!(!is_looked_up(("::1", 80)));
        assert!(!is_looked_up(("127.0.0.1".to_owned(), 80)));
        assert!(!is_looked_up(&[SocketAddr::from(([1, 2, 3, 4], 5))][..]));
        assert!(is_looked_up("localhost:80"));
        assert!(is_looked_up(("localhost", 80)));
    }

    #[test]
    fn a_name_becomes_its_addresses() {
        let runtime = runtime::Runtime::new().unwrap();
        let found: Vec<_> = runtime
            .block_on("localhost:80".resolve().find(None))
            .unwrap()
            .collect();
        assert!(!found.is_empty());
        assert!(found.iter().all(|a| a.ip().is_loopback() && a.port() == 80));
    }

    #[test]
    fn no_address_is_invalid_input_and_says_so() {
        let runtime = runtime::Runtime::new().unwrap();
        let none: &[SocketAddr] = &[];
        let error = runtime.block_on(none.resolve().find(None)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("no address"));
        let error = runtime
            .block_on("no-port".resolve().find(None))
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_look_up_ends_at_its_deadline() {
        let runtime = runtime::Runtime::new().unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let task = blocking::unblock(move || {
            let _ = held.recv();
            Ok(Vec::new())
        });
        let error = runtime
            .block_on(Finding::until(task, Some(Instant::now())))
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(release);
    }
}

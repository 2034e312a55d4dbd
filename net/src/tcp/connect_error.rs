//! What became of each address that was tried.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why none of several addresses could be connected to: inside the [`io::Error`] of a
/// [`connect`](super::TcpStream::connect) to more than one.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::net::{ConnectError, TcpSocket, TcpStream};
///
/// // Bound, but nobody listens.
/// let socket = TcpSocket::new_v4().await?;
/// socket.bind("127.0.0.1:0".parse().unwrap()).await?;
/// let addr = socket.local_addr()?;
///
/// let error = TcpStream::connect(&[addr, addr][..]).await.unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
/// for (addr, error) in ConnectError::of(&error).unwrap().attempts() {
///     println!("{addr}: {error}");
/// }
/// # Ok(()) }) }
/// ```
#[derive(Debug)]
pub struct ConnectError {
    attempts: Vec<(SocketAddr, io::Error)>,
    untried: Vec<SocketAddr>,
}

impl ConnectError {
    pub(super) fn new(
        attempts: Vec<(SocketAddr, io::Error)>,
        untried: Vec<SocketAddr>,
    ) -> ConnectError {
        ConnectError { attempts, untried }
    }

    /// The one inside `error`, if there is one.
    pub fn of(error: &io::Error) -> Option<&ConnectError> {
        error.get_ref()?.downcast_ref()
    }

    /// The addresses that were tried, in the order in which they failed, and what each said.
    pub fn attempts(&self) -> &[(SocketAddr, io::Error)] {
        &self.attempts
    }

    /// The addresses for which no time was left.
    pub fn untried(&self) -> &[SocketAddr] {
        &self.untried
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.attempts.len() + self.untried.len();
        write!(f, "none of {all} addresses could be connected to")?;
        let mut before = ": ";
        for (addr, error) in &self.attempts {
            write!(f, "{before}{addr}: {error}")?;
            before = "; ";
        }
        for addr in &self.untried {
            write!(f, "{before}{addr}: not tried, the time was over")?;
            before = "; ";
        }
        Ok(())
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let (_, error) = self.attempts.last()?;
        Some(error)
    }
}

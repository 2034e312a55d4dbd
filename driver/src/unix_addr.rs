//! Addresses of unix sockets: the standard library's, and what the kernel is given.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;

use socket2::SockAddr;

/// A unix socket's address as the standard library has it: a path, an abstract name, or none.
///
/// # Errors
///
/// `InvalidData` if it is none of a unix socket's; `InvalidInput` for a path of all 108 bytes, which the standard library
/// does not have.
///
/// # Examples
///
/// ```
/// use annulet_driver::{from_unix_addr, unix_addr};
/// use std::os::linux::net::SocketAddrExt;
/// use std::os::unix::net::SocketAddr;
///
/// let name = SocketAddr::from_abstract_name("annulet")?;
/// assert_eq!(unix_addr(&from_unix_addr(&name)?)?.as_abstract_name(), Some(&b"annulet"[..]));
/// # std::io::Result::Ok(())
/// ```
pub fn unix_addr(addr: &SockAddr) -> io::Result<SocketAddr> {
    if let Some(path) = addr.as_pathname() {
        SocketAddr::from_pathname(path)
    } else if let Some(name) = addr.as_abstract_namespace() {
        SocketAddr::from_abstract_name(name)
    } else if addr.is_unnamed() {
        SocketAddr::from_pathname("")
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the socket's address is none of a unix socket",
        ))
    }
}

/// The reverse of [`unix_addr`].
///
/// # Errors
///
/// None at present.
pub fn from_unix_addr(addr: &SocketAddr) -> io::Result<SockAddr> {
    if let Some(path) = addr.as_pathname() {
        SockAddr::unix(path)
    } else if let Some(name) = addr.as_abstract_name() {
        let mut path = vec![0];
        path.extend_from_slice(name);
        SockAddr::unix(OsStr::from_bytes(&path))
    } else {
        SockAddr::unix("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_address_comes_back_as_it_was() {
        for path in ["a", "/tmp/socket", &"x".repeat(107)] {
            let addr = from_unix_addr(&SocketAddr::from_pathname(path).unwrap()).unwrap();
            assert_eq!(unix_addr(&addr).unwrap().as_pathname(), Some(path.as_ref()));
        }
        for name in [&b""[..], b"name", b"with\0nul", &[7; 107]] {
            let addr = from_unix_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
            assert_eq!(unix_addr(&addr).unwrap().as_abstract_name(), Some(name));
        }
        let none = from_unix_addr(&SocketAddr::from_pathname("").unwrap()).unwrap();
        assert!(unix_addr(&none).unwrap().is_unnamed());
    }

    #[test]
    fn an_address_of_another_kind_is_refused() {
        let ip = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
        let error = unix_addr(&ip.into()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

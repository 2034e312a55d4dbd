//! What scenarios do their I/O on.

use std::net::SocketAddr;

use runtime::Fd;

/// A connected pair of stream sockets.
///
/// # Panics
///
/// If there are no descriptors left.
pub fn socket_pair() -> (Fd, Fd) {
    let (a, b) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
    (Fd::new(a.into()), Fd::new(b.into()))
}

/// A pipe's reading and its writing end.
///
/// # Panics
///
/// If there are no descriptors left.
pub fn pipe() -> (Fd, Fd) {
    let (read, write) = std::io::pipe().expect("a pipe");
    (Fd::new(read.into()), Fd::new(write.into()))
}

/// A listener on the loopback device, and where it listens.
///
/// # Panics
///
/// If it cannot be had.
pub fn tcp_listener() -> (Fd, SocketAddr) {
    let listener =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port on the loopback device");
    let address = listener.local_addr().expect("it is bound");
    (Fd::new(listener.into()), address)
}

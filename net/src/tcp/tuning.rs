//! Options of TCP (`tcp(7)`) that a stream has, and a socket that is to become one or to listen.

use std::io;
use std::time::Duration;

use super::{TcpSocket, TcpStream};
use crate::options::{buffer_sizes, ip_options, socket_options, with_socket};

macro_rules! tcp_options {
    ($handle:ident) => {
        socket_options! {
            impl $handle {
                /// How long sent bytes may stay without an acknowledgement before the kernel ends the connection with
                /// `TimedOut` (`TCP_USER_TIMEOUT`), in whole milliseconds; `None` or zero leave it to the kernel.
                tcp_user_timeout, set_tcp_user_timeout: Option<Duration> = tcp_user_timeout, set_tcp_user_timeout;
                /// Whether acknowledgements are sent at once (`TCP_QUICKACK`). Not for good: the kernel may go back
                /// to delaying them later.
                tcp_quickack, set_tcp_quickack: bool = tcp_quickack, set_tcp_quickack;
                /// Whether partial segments are held back (`TCP_CORK`), 200 ms at most, until the option is cleared.
                tcp_cork, set_tcp_cork: bool = tcp_cork, set_tcp_cork;
                /// Limits how many bytes that have not been sent the kernel takes (`TCP_NOTSENT_LOWAT`): small for
                /// senders that want to decide late what comes next.
                tcp_notsent_lowat, set_tcp_notsent_lowat: u32 = tcp_notsent_lowat, set_tcp_notsent_lowat;
                /// Limits the size of segments, in bytes (`TCP_MAXSEG`).
                tcp_mss, set_tcp_mss: u32 = tcp_mss, set_tcp_mss;
            }
        }

        impl $handle {
            /// Chooses the algorithm of congestion control by its name (`TCP_CONGESTION`), one of
            /// `/proc/sys/net/ipv4/tcp_available_congestion_control`.
            ///
            /// # Errors
            ///
            /// `NotFound` if the kernel has none of that name; `PermissionDenied` if it is for root only; `EBADF` if
            /// the handle is closed.
            pub fn set_tcp_congestion(&self, name: &str) -> io::Result<()> {
                with_socket(&self.fd, |socket| socket.set_tcp_congestion(name.as_bytes()))
            }

            /// The name of the algorithm of congestion control.
            ///
            /// # Errors
            ///
            /// `EBADF` if the handle is closed.
            pub fn tcp_congestion(&self) -> io::Result<String> {
                let name = with_socket(&self.fd, |socket| socket.tcp_congestion())?;
                let len = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
                Ok(String::from_utf8_lossy(&name[..len]).into_owned())
            }
        }

        ip_options!($handle);
        buffer_sizes!($handle);
    };
}

tcp_options!(TcpStream);
tcp_options!(TcpSocket);

//! What to do about an error: the part that the kernel's message leaves out.

use std::fmt::Display;
use std::io::{Error, ErrorKind};

use rustix::io::Errno;

/// "`what`: the error", and what can be done about it, where that is known.
pub(crate) fn explain(what: impl Display, error: &Error) -> String {
    match advice(error) {
        Some(advice) => format!("{what}: {error}\n  {advice}"),
        None => format!("{what}: {error}"),
    }
}

fn advice(error: &Error) -> Option<&'static str> {
    if is_out_of_descriptors(error) {
        return Some("allow more open files with `ulimit -n 65536`, or have fewer connections");
    }
    Some(match error.kind() {
        ErrorKind::AddrInUse => {
            "another program listens there (`ss -ltnp` names it): take another port, or 0 for any free one"
        }
        ErrorKind::AddrNotAvailable => {
            "this machine does not have that address: 127.0.0.1 is reached from here only, 0.0.0.0 from everywhere"
        }
        ErrorKind::PermissionDenied => "only root may listen below port 1024: take a higher one",
        ErrorKind::InvalidInput => {
            "an address is written 127.0.0.1:7777, [::1]:7777 or localhost:7777"
        }
        ErrorKind::ConnectionRefused => "nothing listens there (yet)",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            "there is no way to that address from here"
        }
        _ => return None,
    })
}

/// Whether the process, or the whole system, can open no further file or socket.
pub(crate) fn is_out_of_descriptors(error: &Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

//! Sockets, whose own flags are nobody's to keep.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use io_uring::opcode;
use io_uring::types::Fd;

use super::{Tried, all, on_both, pipe, tcp};
use crate::ring::{DriverKind, Ring, Setup};

#[test]
fn a_splice_from_a_socket_that_waits_leaves_others_alone() {
    on_both(|tried| {
        let (mut client, server) = tcp();
        let (reader, writer) = pipe();
        let (from, to) = (Fd(server.as_raw_fd()), Fd(writer.as_raw_fd()));
        tried.stage(1, opcode::Splice::new(from, -1, to, -1, 100).build());
        // Were it to wait in the call, this would never be.
        tried.stage(2, opcode::Nop::new().build());
        tried.until(1);
        assert_eq!(tried.take(), [(2, 0)]);
        client.write_all(b"hello").unwrap();
        tried.until(1);
        assert_eq!(tried.take(), [(1, 5)]);
        let mut bytes = [0; 5];
        File::from(reader).read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
        let flags = rustix::fs::fcntl_getfl(&server).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
    });
}

#[test]
fn rings_that_accept_from_one_listener_leave_its_flags_as_they_were() {
    const CLIENTS: usize = 40;
    const RINGS: usize = 3;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, fd) = (listener.local_addr().unwrap(), listener.as_raw_fd());
    let accepted = Arc::new(AtomicU32::new(0));
    let ready = Arc::new(Barrier::new(RINGS + 1));
    let rings = [(); RINGS].map(|()| {
        let (accepted, ready) = (accepted.clone(), ready.clone());
        thread::spawn(move || {
            let setup = Setup {
                driver: DriverKind::Poll,
                ..Setup::default()
            };
            let (ring, _) = Ring::new(&setup).unwrap();
            let mut tried = Tried::new(ring);
            tried.stage(0, opcode::AcceptMulti::new(Fd(fd)).build());
            ready.wait();
            while (accepted.load(Acquire) as usize) < CLIENTS {
                tried.look(Duration::from_millis(1));
                for (_, socket, _) in tried.told.drain(..) {
                    assert!(socket >= 0, "{socket}");
                    // SAFETY: it is new.
                    drop(unsafe { OwnedFd::from_raw_fd(socket) });
                    accepted.fetch_add(1, AcqRel);
                }
            }
            tried.stage(1, all());
            tried.until(2);
        })
    });
    ready.wait();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    rings.into_iter().for_each(|ring| ring.join().unwrap());
    drop(clients);
    assert_eq!(accepted.load(Relaxed) as usize, CLIENTS);
    let flags = rustix::fs::fcntl_getfl(&listener).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
}

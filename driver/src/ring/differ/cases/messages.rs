//! Sends and receives by a header.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};

use super::{Tried, on_both};

const ALL: u32 = libc::MSG_WAITALL as u32;

/// A header of these parts, and their vectors, which stay where they are.
struct Header {
    header: Box<libc::msghdr>,
    _vectors: Vec<libc::iovec>,
}

impl Header {
    fn of(parts: &mut [&mut [u8]]) -> Header {
        let vectors = parts.iter_mut().map(|part| libc::iovec {
            iov_base: part.as_mut_ptr().cast(),
            iov_len: part.len(),
        });
        let mut vectors: Vec<libc::iovec> = vectors.collect();
        // SAFETY: all zeros are a header that says nothing.
        let mut header: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        header.msg_iov = vectors.as_mut_ptr();
        header.msg_iovlen = vectors.len();
        Header {
            header,
            _vectors: vectors,
        }
    }

    fn send(&self, fd: Fd) -> squeue::Entry {
        opcode::SendMsg::new(fd, &raw const *self.header)
            .flags(ALL)
            .build()
    }

    fn receive(&mut self, fd: Fd) -> squeue::Entry {
        opcode::RecvMsg::new(fd, &raw mut *self.header)
            .flags(ALL)
            .build()
    }
}

fn packets() -> (OwnedFd, OwnedFd) {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    socketpair(family, kind, SocketFlags::CLOEXEC, None).unwrap()
}

#[test]
fn a_send_by_header_of_all_goes_on_until_all_is_sent() {
    const HALF: usize = 300_000;
    on_both(|tried| {
        let (one, other) = UnixStream::pair().unwrap();
        let (one, other) = (OwnedFd::from(one), OwnedFd::from(other));
        let bytes: Vec<u8> = (0..2 * HALF).map(|at| at as u8).collect();
        let mut sent = bytes.clone();
        let (first, second) = sent.split_at_mut(HALF);
        let header = Header::of(&mut [first, second]);
        tried.stage(1, header.send(Fd(one.as_raw_fd())));
        tried.look(std::time::Duration::ZERO);
        assert!(tried.told.is_empty(), "it cannot have room for so much");
        let mut received = vec![0; 2 * HALF];
        let (first, second) = received.split_at_mut(HALF);
        let mut header = Header::of(&mut [first, second]);
        tried.stage(2, header.receive(Fd(other.as_raw_fd())));
        tried.until(2);
        let all = 2 * HALF as i32;
        assert_eq!(tried.take(), [(1, all), (2, all)]);
        assert_eq!(received, bytes);
    });
}

#[test]
fn a_receive_by_header_of_all_that_ends_early_breaks_its_chain() {
    on_both(|tried| {
        let (one, other) = UnixStream::pair().unwrap();
        let (one, other) = (OwnedFd::from(one), OwnedFd::from(other));
        let mut room = [0; 10];
        let mut header = Header::of(&mut [&mut room]);
        let receive = header.receive(Fd(other.as_raw_fd()));
        tried.chain(1, &[receive, opcode::Nop::new().build()]);
        rustix::io::write(&one, b"part").unwrap();
        tried.look(std::time::Duration::ZERO);
        drop(one);
        tried.until(2);
        assert_eq!(tried.take(), [(1, 4), (2, -libc::ECANCELED)]);
    });
}

#[test]
fn the_rest_of_a_message_goes_into_all_that_is_left() {
    on_both(|tried| {
        let (one, other) = packets();
        let (mut first, mut second) = ([0; 2], [0; 4]);
        let mut header = Header::of(&mut [&mut first, &mut second]);
        rustix::net::send(&one, b"a", SendFlags::empty()).unwrap();
        rustix::net::send(&one, b"bcdef", SendFlags::empty()).unwrap();
        tried.stage(1, header.receive(Fd(other.as_raw_fd())));
        tried.until(1);
        assert_eq!(tried.take(), [(1, 6)]);
        assert_eq!((&first, &second), (b"ab", b"cdef"));
    });
}

fn receives_what_is_cut(tried: &mut Tried, by_header: bool) {
    let (one, other) = packets();
    let mut room = [0; 4];
    let mut header = Header::of(&mut [&mut room]);
    let from = Fd(other.as_raw_fd());
    let receive = match by_header {
        true => header.receive(from),
        false => opcode::Recv::new(from, room.as_mut_ptr(), 4)
            .flags(libc::MSG_WAITALL)
            .build(),
    };
    rustix::net::send(&one, b"longer", SendFlags::empty()).unwrap();
    tried.chain(1, &[receive, opcode::Nop::new().build()]);
    tried.until(2);
    assert_eq!(tried.take(), [(1, 4), (2, -libc::ECANCELED)]);
    assert_eq!(&room, b"long");
}

#[test]
fn a_packet_that_is_cut_breaks_the_chain_of_who_asked_for_all() {
    on_both(|tried| {
        receives_what_is_cut(tried, false);
        receives_what_is_cut(tried, true);
    });
}

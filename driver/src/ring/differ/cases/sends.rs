//! Sends without a copy, which complete twice.

use std::io::Read as _;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use io_uring::types::Fd;
use io_uring::{opcode, squeue};

use super::{NEVER, SOON, Tried, on_both, pipe, poll_of, tcp};
use crate::ring::{COPIED, REPORT_USAGE};

static BYTES: [u8; 6] = *b"zerocp";

fn in_place(fd: &impl AsRawFd) -> opcode::SendZc {
    opcode::SendZc::new(Fd(fd.as_raw_fd()), BYTES.as_ptr(), BYTES.len() as u32)
}

fn reporting(fd: &impl AsRawFd) -> squeue::Entry {
    in_place(fd).zc_flags(REPORT_USAGE).build()
}

/// A socket that takes no more, and its peer.
fn full() -> (TcpStream, TcpStream) {
    let (ours, theirs) = tcp();
    rustix::io::ioctl_fionbio(&ours, true).unwrap();
    // What is on its way makes room once more.
    for _ in 0..1000 {
        while rustix::io::write(&ours, &[0; 1 << 16]).is_ok() {}
        std::thread::yield_now();
    }
    rustix::io::ioctl_fionbio(&ours, false).unwrap();
    (ours, theirs)
}

impl Tried {
    /// What was told of `number`, with whether more is to come.
    fn of(&self, number: u64) -> Vec<(i32, bool)> {
        let told = self.told.iter().filter(|told| told.0 == number);
        told.map(|told| (told.1, told.2)).collect()
    }
}

#[test]
fn a_send_without_a_copy_tells_its_result_and_then_of_its_buffer() {
    on_both(|tried| {
        let (ours, mut theirs) = tcp();
        for (report, copied) in [(0, 0), (REPORT_USAGE, COPIED.cast_signed())] {
            tried.stage(1, in_place(&ours).zc_flags(report).build());
            theirs_have(tried, &mut theirs);
            tried.until(2);
            assert_eq!(tried.told, [(1, 6, true), (1, copied, false)]);
            assert_eq!(tried.notified, [1]);
            tried.take();
        }
        // Two buffers as one message; waiting first is a hint.
        let part = libc::iovec {
            iov_base: BYTES.as_ptr().cast_mut().cast(),
            iov_len: 3,
        };
        let mut parts = [part; 2];
        // SAFETY: all zeros are a header that says nothing.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        (header.msg_iov, header.msg_iovlen) = (parts.as_mut_ptr(), 2);
        let message = opcode::SendMsgZc::new(Fd(ours.as_raw_fd()), &raw const header);
        tried.stage(1, message.ioprio(REPORT_USAGE | 1).build());
        let mut got = [0; 6];
        tried.look(Duration::ZERO);
        theirs.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"zerzer");
        tried.until(2);
        assert_eq!(tried.of(1), [(6, true), (COPIED.cast_signed(), false)]);
        assert_eq!(tried.notified, [1]);
        tried.take();
    });
}

fn theirs_have(tried: &mut Tried, theirs: &mut TcpStream) {
    let mut got = [0; 6];
    tried.look(Duration::ZERO);
    theirs.read_exact(&mut got).unwrap();
    assert_eq!(got, BYTES);
}

#[test]
fn one_that_fails_or_is_cancelled_tells_of_its_buffer_too() {
    on_both(|tried| {
        let told_twice = |errno: i32| [(-errno, true), (COPIED.cast_signed(), false)];
        let (_reader, writer) = pipe();
        let (unix, _peer) = UnixStream::pair().unwrap();
        let (shut, _theirs) = tcp();
        shut.shutdown(std::net::Shutdown::Write).unwrap();
        let none = opcode::SendZc::new(Fd(-1), BYTES.as_ptr(), 6).zc_flags(REPORT_USAGE);
        tried.stage(1, none.build());
        tried.stage(2, reporting(&writer));
        tried.stage(3, reporting(&unix));
        tried.stage(4, reporting(&shut));
        tried.until(8);
        for (number, errno) in [
            (1, libc::EBADF),
            (2, libc::ENOTSOCK),
            (3, libc::EOPNOTSUPP),
            (4, libc::EPIPE),
        ] {
            assert_eq!(tried.of(number), told_twice(errno), "{number}");
        }
        assert_eq!(tried.notified.len(), 4);
        tried.take();
        let (ours, _theirs) = full();
        tried.stage(1, reporting(&ours));
        assert!(tried.quiet());
        tried.stage(2, opcode::AsyncCancel::new(1).build());
        tried.until(3);
        assert_eq!(tried.of(1), told_twice(libc::ECANCELED));
        assert_eq!(
            (tried.of(2), &tried.notified[..]),
            (vec![(0, false)], &[1][..])
        );
        tried.take();
        // Its deadline is told of before.
        let limit = opcode::LinkTimeout::new(&raw const SOON).build();
        tried.chain(1, &[reporting(&ours), limit]);
        tried.until(3);
        assert_eq!(tried.told[0], (2, -libc::ETIME, false));
        assert_eq!(tried.of(1), told_twice(libc::ECANCELED));
        tried.take();
    });
}

#[test]
fn a_chain_goes_on_at_its_result_and_breaks_where_it_fails() {
    on_both(|tried| {
        let (ours, mut theirs) = tcp();
        let limit = opcode::LinkTimeout::new(&raw const NEVER).build();
        let nop = || opcode::Nop::new().build();
        tried.chain(1, &[nop(), reporting(&ours), limit, nop()]);
        theirs_have(tried, &mut theirs);
        tried.until(5);
        assert_eq!(tried.of(2)[0], (6, true));
        assert_eq!(tried.of(3), [(-libc::ECANCELED, false)]);
        assert_eq!(
            (tried.of(4), &tried.notified[..]),
            (vec![(0, false)], &[2][..])
        );
        tried.take();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        tried.chain(1, &[reporting(&ours), nop()]);
        tried.until(3);
        assert_eq!(tried.of(1)[0], (-libc::EPIPE, true));
        assert_eq!(tried.of(2), [(-libc::ECANCELED, false)]);
        tried.take();
        // One that has not begun is told of as the others are. The kernel notifies of it all the same.
        let (reader, _writer) = pipe();
        tried.chain(1, &[poll_of(&reader), reporting(&ours)]);
        tried.look(Duration::ZERO);
        tried.stage(3, opcode::AsyncCancel::new(1).build());
        tried.until(3);
        tried.quiet();
        assert_eq!(tried.of(1), [(-libc::ECANCELED, false)]);
        assert_eq!(tried.of(2)[0], (-libc::ECANCELED, false));
        tried.take();
    });
}

#[test]
fn all_of_it_goes_however_full_the_socket_is() {
    on_both(|tried| {
        let (ours, mut theirs) = tcp();
        let bytes: Vec<u8> = (0..8u32 << 20).map(|n| (n % 251) as u8).collect();
        let send = opcode::SendZc::new(Fd(ours.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32);
        let all = send.zc_flags(REPORT_USAGE).flags(libc::MSG_WAITALL);
        tried.stage(1, all.build());
        let mut got: Vec<u8> = Vec::new();
        let mut part = vec![0; 1 << 16];
        theirs.set_nonblocking(true).unwrap();
        while got.len() < bytes.len() || tried.told.len() < 2 {
            tried.look(Duration::ZERO);
            if let Ok(n) = theirs.read(&mut part) {
                got.extend(&part[..n]);
            }
        }
        assert!(got == bytes);
        assert_eq!(tried.of(1)[0], (bytes.len() as i32, true));
        tried.take();
        // Cancelled half-way it answers how much went, and its chain breaks.
        let (ours, _theirs) = tcp();
        let send = opcode::SendZc::new(Fd(ours.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32);
        let all = send.flags(libc::MSG_WAITALL).build();
        tried.chain(1, &[all, opcode::Nop::new().build()]);
        assert!(tried.quiet());
        tried.stage(9, opcode::AsyncCancel::new(1).build());
        // What went waits for a reader there.
        tried.until(3);
        let (sent, more) = tried.of(1)[0];
        assert!(more && sent > 0 && sent < bytes.len() as i32, "{sent}");
        assert_eq!(tried.of(2), [(-libc::ECANCELED, false)]);
        drop(_theirs);
        tried.until(4);
        tried.take();
    });
}

#[test]
fn what_a_send_cannot_be_asked_for_is_refused() {
    on_both(|tried| {
        let (ours, _theirs) = tcp();
        tried.stage(1, reporting(&ours).flags(squeue::Flags::SKIP_SUCCESS));
        tried.until(1);
        assert_eq!(tried.take(), [(1, -libc::EINVAL)]);
        // Of a flag that nobody knows the kernel tells twice.
        tried.stage(1, in_place(&ours).zc_flags(1 << 9).build());
        tried.until(1);
        assert_eq!(tried.told[0].1, -libc::EINVAL);
        tried.quiet();
        tried.take();
        let selects = reporting(&ours).flags(squeue::Flags::BUFFER_SELECT);
        tried.stage(1, selects);
        tried.until(1);
        assert_eq!(tried.take(), [(1, -libc::EOPNOTSUPP)]);
    });
}

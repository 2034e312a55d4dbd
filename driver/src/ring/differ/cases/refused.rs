//! What the kernel's ring does, this project asks no ring for, and the one in user space refuses.

use std::os::fd::AsRawFd;
use std::ptr;

use io_uring::types::Fd;
use io_uring::{opcode, squeue};

use super::{Tried, tcp};
use crate::ring::{DriverKind, Ring, Setup};

/// `entry` with another byte.
fn with(entry: squeue::Entry, at: usize, byte: u8) -> squeue::Entry {
    // SAFETY: an entry is 64 bytes, in which all bits are valid. The test looks at what they point at.
    let mut bytes: [u8; 64] = unsafe { std::mem::transmute(entry) };
    bytes[at] = byte;
    // SAFETY: as above.
    unsafe { std::mem::transmute::<[u8; 64], squeue::Entry>(bytes) }
}

#[test]
fn what_the_ring_in_user_space_does_not_do_it_refuses() {
    let setup = Setup {
        driver: DriverKind::Poll,
        ..Setup::default()
    };
    let mut tried = Tried::new(Ring::new(&setup).unwrap().0);
    const PRIORITY: usize = 2;
    const PERSONALITY: usize = 42;
    let (ours, _theirs) = tcp();
    let fd = Fd(ours.as_raw_fd());
    let mut bytes = [0u8; 4];
    let at = bytes.as_mut_ptr();
    let nop = || opcode::Nop::new().build();
    let selects = squeue::Flags::BUFFER_SELECT;
    let none = ptr::null_mut();
    let bundle = 1 << 4;
    let refused = [
        nop().flags(squeue::Flags::IO_DRAIN),
        with(nop(), PERSONALITY, 1),
        with(opcode::Read::new(fd, at, 4).build(), PRIORITY, 1),
        opcode::Read::new(fd, ptr::null_mut(), 4)
            .build()
            .flags(selects),
        opcode::ReadMulti::new(fd, 4, 0).build(),
        opcode::RecvMsg::new(fd, none).build().flags(selects),
        opcode::RecvMsgMulti::new(fd, none, 0).build(),
        opcode::RecvBundle::new(fd, 0).build(),
        opcode::RecvMultiBundle::new(fd, 0).build(),
        with(opcode::Send::new(fd, at, 4).build(), PRIORITY, bundle),
        opcode::SendBundle::new(fd, 0).build(),
        with(opcode::SendZc::new(fd, at, 4).build(), PRIORITY, bundle),
        // Not to wait.
        with(
            opcode::Accept::new(fd, ptr::null_mut(), ptr::null_mut()).build(),
            PRIORITY,
            2,
        ),
    ];
    for (number, entry) in (0..).zip(refused) {
        tried.stage(number, entry);
        tried.until(1);
        assert_eq!(tried.take(), [(number, -libc::EINVAL)]);
    }
    assert!(tried.quiet());
}

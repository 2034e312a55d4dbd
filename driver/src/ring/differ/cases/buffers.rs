//! Buffers that are picked.

use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Release;
use std::time::Duration;

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{opcode, squeue};

use super::{Tried, all, on_both, tcp};
use crate::ring::INCREMENTAL;

/// A ring of buffers, and the buffers.
struct Buffers {
    ring: Box<Page>,
    memory: Vec<[u8; 8]>,
    tail: u16,
}

#[repr(align(4096))]
struct Page([u8; 4096]);

const GROUP: u16 = 3;
const ENTRIES: u16 = 8;

impl Buffers {
    fn register(tried: &mut Tried, flags: u16) -> Buffers {
        let ring = Box::new(Page([0; 4096]));
        // SAFETY: the page stays where it is; the test ends the registration before it ends.
        let registered = unsafe {
            let at = (&raw const ring.0) as u64;
            tried.ring.register_buffers(at, ENTRIES, GROUP, flags)
        };
        registered.unwrap();
        Buffers {
            ring,
            memory: vec![[0; 8]; 64],
            tail: 0,
        }
    }

    /// Puts the buffers `numbers` there.
    fn put(&mut self, numbers: impl IntoIterator<Item = u16>) {
        let entries = self.ring.0.as_mut_ptr().cast::<BufRingEntry>();
        for number in numbers {
            let at = usize::from(self.tail % ENTRIES);
            // SAFETY: within the page; nobody picks it before the tail says so.
            let entry = unsafe { &mut *entries.add(at) };
            entry.set_addr(self.memory[usize::from(number)].as_mut_ptr() as u64);
            entry.set_len(8);
            entry.set_bid(number);
            self.tail = self.tail.wrapping_add(1);
        }
        // SAFETY: the tail is in the first entry, aligned.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries).cast_mut()) };
        tail.store(self.tail, Release);
    }
}

fn picking(fd: &impl AsRawFd) -> squeue::Entry {
    let recv = opcode::Recv::new(Fd(fd.as_raw_fd()), std::ptr::null_mut(), 0);
    recv.buf_group(GROUP)
        .build()
        .flags(squeue::Flags::BUFFER_SELECT)
}

fn picking_many(fd: &impl AsRawFd) -> squeue::Entry {
    opcode::RecvMulti::new(Fd(fd.as_raw_fd()), GROUP).build()
}

fn with_buffers(test: fn(&mut Tried, &mut Buffers)) {
    with_buffers_of(0, test);
}

fn with_buffers_of(flags: u16, test: fn(&mut Tried, &mut Buffers)) {
    on_both(|tried| {
        let mut buffers = Buffers::register(tried, flags);
        test(tried, &mut buffers);
        tried.stage(99, all());
        tried.until(1);
        tried.take();
        tried.ring.unregister_buffers(GROUP).unwrap();
    });
}

#[test]
fn a_receive_picks_the_buffer_that_is_next() {
    with_buffers(|tried, buffers| {
        let (mut client, server) = tcp();
        tried.stage(1, picking(&server));
        tried.until(1);
        assert_eq!(tried.take(), [(1, -libc::ENOBUFS)]);
        // More often than there is room for at once.
        for round in 0..20u16 {
            let number = round * 7 % 64;
            buffers.put([number]);
            tried.stage(1, picking(&server));
            assert!(tried.quiet());
            client.write_all(&[round as u8; 5]).unwrap();
            tried.until(1);
            assert_eq!(tried.told, [(1, 5, false)]);
            assert_eq!(tried.picked, [Some(number)]);
            assert_eq!(buffers.memory[usize::from(number)][..5], [round as u8; 5]);
            tried.take();
        }
        // It is not taken where there is nothing to put into it.
        buffers.put([1]);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        tried.stage(1, picking(&server));
        tried.until(1);
        assert_eq!(
            (&tried.told[..], &tried.picked[..]),
            (&[(1, 0, false)][..], &[None][..])
        );
        tried.take();
        let (mut client, server) = tcp();
        client.write_all(b"to one").unwrap();
        tried.stage(1, picking(&server));
        tried.until(1);
        assert_eq!(tried.picked, [Some(1)]);
        tried.take();
    });
}

#[test]
fn a_receive_that_waits_first_needs_no_buffer_before() {
    with_buffers(|tried, buffers| {
        let (mut client, server) = tcp();
        let recv = opcode::Recv::new(Fd(server.as_raw_fd()), std::ptr::null_mut(), 3);
        let recv = recv.buf_group(GROUP).ioprio(1).build();
        let recv = recv.flags(squeue::Flags::BUFFER_SELECT);
        tried.stage(1, recv.clone());
        assert!(tried.quiet());
        client.write_all(b"hello").unwrap();
        tried.until(1);
        assert_eq!(tried.take(), [(1, -libc::ENOBUFS)]);
        buffers.put([9]);
        tried.stage(1, recv.clone());
        tried.until(1);
        assert_eq!((tried.told[0], tried.picked[0]), ((1, 3, false), Some(9)));
        tried.take();
        buffers.put([10]);
        tried.stage(1, recv);
        tried.until(1);
        assert_eq!((tried.told[0], tried.picked[0]), ((1, 2, false), Some(10)));
        assert_eq!(buffers.memory[10][..2], *b"lo");
        tried.take();
    });
}

#[test]
fn a_multishot_receive_picks_until_none_is_left_or_the_end() {
    with_buffers(|tried, buffers| {
        let (mut client, server) = tcp();
        buffers.put(0..4);
        tried.stage(1, picking_many(&server));
        client.write_all(b"0123456789").unwrap();
        tried.until(2);
        assert_eq!(tried.told, [(1, 8, true), (1, 2, true)]);
        assert_eq!(tried.picked, [Some(0), Some(1)]);
        tried.take();
        assert!(tried.quiet());
        client.write_all(&[7; 30]).unwrap();
        tried.until(3);
        assert_eq!(
            tried.told,
            [(1, 8, true), (1, 8, true), (1, -libc::ENOBUFS, false)]
        );
        tried.take();
        buffers.put(4..9);
        tried.stage(1, picking_many(&server));
        tried.until(2);
        assert_eq!(tried.told, [(1, 8, true), (1, 6, true)]);
        assert_eq!(tried.picked, [Some(4), Some(5)]);
        tried.take();
        drop(client);
        tried.until(1);
        assert_eq!(tried.told, [(1, 0, false)]);
        tried.take();
        // One that waits is cancelled like all others.
        let (_client, server) = tcp();
        tried.stage(1, picking_many(&server));
        tried.look(Duration::ZERO);
        tried.stage(2, opcode::AsyncCancel::new(1).build());
        tried.until(2);
        assert_eq!(tried.take(), [(1, -libc::ECANCELED), (2, 0)]);
    });
}

#[test]
fn a_buffer_that_is_consumed_by_and_by_is_picked_until_it_is_full() {
    with_buffers_of(INCREMENTAL, |tried, buffers| {
        let (mut client, server) = tcp();
        buffers.put([7, 9]);
        let receive = |tried: &mut Tried, len: usize| {
            let before = tried.told.len();
            tried.stage(1, picking(&server));
            tried.until(before + 1);
            assert_eq!(tried.told[before], (1, len as i32, false));
        };
        client.write_all(b"abc").unwrap();
        receive(tried, 3);
        client.write_all(b"defghij").unwrap();
        // What is left of the first, and then the next.
        receive(tried, 5);
        receive(tried, 2);
        assert_eq!(tried.picked, [Some(7), Some(7), Some(9)]);
        assert_eq!(tried.leaves, [true, false, true]);
        assert_eq!(buffers.memory[7], *b"abcdefgh");
        assert_eq!(buffers.memory[9][..2], *b"ij");
        tried.take();
        // Again and again, until there is none.
        tried.stage(1, picking_many(&server));
        assert!(tried.quiet());
        for (part, count) in [(&b"kl"[..], 1), (b"m", 2), (b"nopq", 4)] {
            client.write_all(part).unwrap();
            tried.until(count);
        }
        let told = [2, 1, 3].map(|len| (1, len, true));
        assert_eq!(tried.told[..3], told);
        assert_eq!(tried.told[3], (1, -libc::ENOBUFS, false));
        assert_eq!(tried.leaves[..3], [true, true, false]);
        assert_eq!(buffers.memory[9], *b"ijklmnop");
        tried.take();
        // The end takes nothing of a buffer.
        buffers.put([1]);
        drop(client);
        receive(tried, 1);
        receive(tried, 0);
        assert_eq!((tried.picked[0], tried.leaves[0]), (Some(1), true));
        tried.take();
    });
}

#[test]
fn what_cannot_pick_a_buffer_is_refused() {
    with_buffers(|tried, buffers| {
        let (mut client, server) = tcp();
        client.write_all(b"data").unwrap();
        buffers.put([0]);
        let fd = Fd(server.as_raw_fd());
        let selects = squeue::Flags::BUFFER_SELECT;
        tried.stage(
            1,
            opcode::Recv::new(fd, std::ptr::null_mut(), 0)
                .buf_group(9)
                .build()
                .flags(selects),
        );
        let all = opcode::RecvMulti::new(fd, GROUP).flags(libc::MSG_WAITALL);
        tried.stage(2, all.build());
        tried.stage(3, opcode::Nop::new().build().flags(selects));
        tried.until(3);
        let refused = [
            (1, -libc::ENOBUFS),
            (2, -libc::EINVAL),
            (3, -libc::EOPNOTSUPP),
        ];
        assert_eq!(tried.take(), refused);
        let page = Box::new(Page([0; 4096]));
        let at = (&raw const page.0) as u64;
        // SAFETY: none of these is registered.
        let mut refused = |at, entries, group| unsafe {
            let refused = tried
                .ring
                .register_buffers(at, entries, group, 0)
                .unwrap_err();
            refused.raw_os_error()
        };
        assert_eq!(refused(at, ENTRIES, GROUP), Some(libc::EEXIST));
        assert_eq!(refused(at, 7, 4), Some(libc::EINVAL));
        assert_eq!(refused(at + 8, ENTRIES, 4), Some(libc::EINVAL));
        let gone = tried.ring.unregister_buffers(4).unwrap_err();
        assert_eq!(gone.raw_os_error(), Some(libc::ENOENT));
    });
}

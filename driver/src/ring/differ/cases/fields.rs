//! What an entry says that its operation has no use for: what the kernel refuses before anything of a chain begins, so does
//! the ring in user space.

use std::ptr::{null, null_mut};

use io_uring::types::{self, Fd};
use io_uring::{opcode as op, squeue};

use super::{Tried, rings};

/// Where an entry has what, and of how many bytes it is.
const FIELDS: [(usize, usize); 11] = [
    (FLAGS, 1),
    (2, 2),
    (OFF, 8),
    (ADDR, 8),
    (LEN, 4),
    (OP_FLAGS, 4),
    (40, 2),
    (42, 2),
    (44, 4),
    (ADDR3, 8),
    (56, 8),
];
const FLAGS: usize = 1;
const OFF: usize = 8;
const ADDR: usize = 16;
const LEN: usize = 24;
const OP_FLAGS: usize = 28;
const ADDR3: usize = 48;

/// Entries that come to nothing at once, each with what of it points at memory.
type Entries = Vec<(squeue::Entry, &'static [usize])>;

fn answers(tried: &mut Tried, entry: &squeue::Entry) -> [i32; 2] {
    tried.chain(1, &[op::Nop::new().build(), entry.clone()]);
    tried.until(2);
    let told = tried.take();
    [told[0].1, told[1].1]
}

fn compare(entries: Entries) {
    let [mut kernel, mut poll] = rings();
    for (entry, pointers) in entries {
        // SAFETY: an entry is 64 bytes, in which all bits are valid; so below.
        let base: [u8; 64] = unsafe { std::mem::transmute(entry) };
        for (at, size) in FIELDS.iter().filter(|(at, _)| !pointers.contains(at)) {
            for bit in 0..size * 8 {
                let mut bytes = base;
                bytes[at + bit / 8] ^= 1 << (bit % 8);
                if links(bytes[FLAGS]) || passes_again(&bytes) {
                    continue;
                }
                // SAFETY: as above.
                let entry = unsafe { std::mem::transmute::<[u8; 64], squeue::Entry>(bytes) };
                let [there, here] = [&mut kernel, &mut poll].map(|ring| answers(ring, &entry));
                let refused = [-libc::ECANCELED, -libc::EINVAL];
                let opcode = base[0];
                assert!(
                    there != refused || here == refused,
                    "opcode {opcode}: bit {bit} at {at}: {here:?}"
                );
            }
        }
    }
}

/// It would be a chain with what comes next, or not be told of.
fn links(flags: u8) -> bool {
    let flags = squeue::Flags::from_bits_retain(flags);
    let links = squeue::Flags::IO_LINK | squeue::Flags::IO_HARDLINK | squeue::Flags::SKIP_SUCCESS;
    flags.intersects(links)
}

/// A timeout that passes for ever.
fn passes_again(bytes: &[u8; 64]) -> bool {
    bytes[0] == op::Timeout::CODE && bytes[OP_FLAGS] & 1 << 6 != 0
}

const NONE: Fd = Fd(-1);

#[test]
fn fields_that_reads_and_sockets_have_no_use_for_are_refused() {
    let mut memory = [0u8; 128];
    let at = memory.as_mut_ptr();
    let vector = libc::iovec {
        iov_base: at.cast(),
        iov_len: 4,
    };
    let vectors = &raw const vector;
    // SAFETY: all zeros are a header.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    compare(vec![
        (op::Read::new(NONE, at, 4).build(), &[]),
        (op::ReadFixed::new(NONE, at, 4, 0).build(), &[]),
        (op::Readv::new(NONE, vectors, 1).build(), &[ADDR, LEN]),
        (op::Write::new(NONE, at, 4).build(), &[]),
        (op::WriteFixed::new(NONE, at, 4, 0).build(), &[]),
        (op::Writev::new(NONE, vectors, 1).build(), &[ADDR, LEN]),
        (op::Recv::new(NONE, at, 4).build(), &[]),
        (op::RecvMsg::new(NONE, &raw mut header).build(), &[ADDR]),
        (op::Send::new(NONE, at, 4).build(), &[]),
        (op::SendMsg::new(NONE, &raw const header).build(), &[ADDR]),
        (op::Accept::new(NONE, null_mut(), null_mut()).build(), &[]),
        (op::Connect::new(NONE, at.cast(), 16).build(), &[ADDR]),
        (op::Socket::new(-1, 1, 0).build(), &[]),
        (op::Bind::new(NONE, at.cast(), 16).build(), &[ADDR]),
        (op::Listen::new(NONE, 4).build(), &[]),
        (op::Shutdown::new(NONE, 1).build(), &[]),
        (op::Splice::new(NONE, -1, NONE, -1, 3).build(), &[]),
        (op::Tee::new(NONE, NONE, 3).build(), &[]),
    ]);
}

#[test]
fn fields_that_files_and_names_have_no_use_for_are_refused() {
    let path = c"no such file".as_ptr();
    let mut stat = [0u8; 256];
    let stat = stat.as_mut_ptr().cast();
    let how = types::OpenHow::new();
    let how = &raw const how;
    let xattr = [OFF, ADDR, LEN, ADDR3].as_slice();
    compare(vec![
        (op::Close::new(NONE).build(), &[]),
        (op::OpenAt::new(NONE, path).build(), &[ADDR]),
        (op::OpenAt2::new(NONE, path, how).build(), &[OFF, ADDR, LEN]),
        (op::Statx::new(NONE, path, stat).build(), &[OFF, ADDR]),
        (op::Fsync::new(NONE).build(), &[]),
        (op::SyncFileRange::new(NONE, 0).build(), &[]),
        (op::Fallocate::new(NONE, 9).build(), &[]),
        (op::Fadvise::new(NONE, 0, 0).build(), &[]),
        (op::Ftruncate::new(NONE, 0).build(), &[]),
        (op::UnlinkAt::new(NONE, path).build(), &[ADDR]),
        (
            op::RenameAt::new(NONE, path, NONE, path).build(),
            &[OFF, ADDR],
        ),
        (op::MkDirAt::new(NONE, path).build(), &[ADDR]),
        (op::SymlinkAt::new(NONE, path, path).build(), &[OFF, ADDR]),
        (
            op::LinkAt::new(NONE, path, NONE, path).build(),
            &[OFF, ADDR],
        ),
        (op::GetXattr::new(path, null_mut(), path, 0).build(), xattr),
        (op::SetXattr::new(path, null(), path, 0).build(), xattr),
        (op::FGetXattr::new(NONE, path, null_mut(), 0).build(), xattr),
        (op::FSetXattr::new(NONE, path, null(), 0).build(), xattr),
    ]);
}

#[test]
fn fields_that_waits_and_cancels_have_no_use_for_are_refused() {
    let mut event = [0u8; 64];
    let time = types::Timespec::new().nsec(1);
    // No bit of what is expected makes it the same.
    let word = 0xaaaa_u32;
    let (word, anybody, private) = (&raw const word, super::ANYBODY, super::PRIVATE);
    let own = std::process::id();
    let child = op::WaitId::new(libc::P_PID, own, libc::WEXITED);
    let epoll = event.as_mut_ptr().cast();
    compare(vec![
        (op::Nop::new().build(), &[]),
        (op::PollAdd::new(NONE, 1).build(), &[]),
        (op::Timeout::new(&raw const time).build(), &[ADDR]),
        // An update points at a time.
        (op::TimeoutRemove::new(99).build(), &[OFF, OP_FLAGS]),
        (op::AsyncCancel::new(99).build(), &[]),
        (op::EpollCtl::new(NONE, NONE, 1, epoll).build(), &[ADDR]),
        (
            op::EpollWait::new(NONE, event.as_mut_ptr().cast(), 3).build(),
            &[ADDR],
        ),
        (child.build(), &[OFF]),
        (
            op::FutexWait::new(word, 1, anybody, private).build(),
            &[ADDR],
        ),
        (
            op::FutexWake::new(word, 1, anybody, private).build(),
            &[ADDR],
        ),
    ]);
}

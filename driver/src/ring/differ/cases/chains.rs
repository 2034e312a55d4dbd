//! Whose failure breaks a chain.

use std::ffi::CStr;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::null_mut;

use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use rustix::net::{AddressFamily, SocketType, socket};

use super::{Tried, on_both, pipe};

const NONE: &CStr = c"no such directory/name";
const HERE: Fd = Fd(libc::AT_FDCWD);

/// The failure of `entry`, and whether its chain went on.
fn tries(tried: &mut Tried, entry: squeue::Entry) -> (i32, bool) {
    tried.chain(1, &[entry.clone(), opcode::Nop::new().build()]);
    tried.until(2);
    let told = tried.take();
    assert!(told[0].1 < 0, "{entry:?} {told:?}");
    (told[0].1, told[1].1 == 0)
}

#[test]
fn what_fails_at_names_and_what_is_done_to_whole_files_breaks_no_chain() {
    let path = NONE.as_ptr();
    // SAFETY: all zeros are a status that says nothing.
    let mut status: libc::statx = unsafe { std::mem::zeroed() };
    let status = (&raw mut status).cast();
    on_both(|tried| {
        let (pipe, _other) = pipe();
        let fd = Fd(pipe.as_raw_fd());
        let value = b"value".as_ptr().cast_mut().cast();
        let goes_on = [
            ("mkdirat", opcode::MkDirAt::new(HERE, path).build()),
            ("unlinkat", opcode::UnlinkAt::new(HERE, path).build()),
            (
                "renameat",
                opcode::RenameAt::new(HERE, path, HERE, path).build(),
            ),
            (
                "linkat",
                opcode::LinkAt::new(HERE, path, HERE, path).build(),
            ),
            (
                "symlinkat",
                opcode::SymlinkAt::new(HERE, path, path).build(),
            ),
            ("statx", opcode::Statx::new(HERE, path, status).build()),
            (
                "getxattr",
                opcode::GetXattr::new(c"user.a".as_ptr(), value, path, 5).build(),
            ),
            (
                "setxattr",
                opcode::SetXattr::new(c"user.a".as_ptr(), value, path, 5).build(),
            ),
            (
                "fgetxattr",
                opcode::FGetXattr::new(fd, c"user.a".as_ptr(), value, 5).build(),
            ),
            ("fsync", opcode::Fsync::new(fd).build()),
            ("fallocate", opcode::Fallocate::new(fd, 1).build()),
            ("ftruncate", opcode::Ftruncate::new(fd, 1).build()),
            ("sync_file_range", opcode::SyncFileRange::new(fd, 1).build()),
        ];
        for (name, entry) in goes_on {
            let (result, goes_on) = tries(tried, entry);
            assert!(goes_on, "{name} {result} {:?}", tried.ring.kind());
        }
    });
}

#[test]
fn other_failures_break_their_chains() {
    on_both(|tried| {
        let (pipe, _other) = pipe();
        let listener = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let (fd, bound) = (Fd(pipe.as_raw_fd()), Fd(listener.as_raw_fd()));
        let unbound = Fd(socket.as_raw_fd());
        let mut nowhere = [0u8; 16];
        nowhere[0] = libc::AF_INET as u8;
        let nowhere = nowhere.as_ptr().cast();
        let breaks = [
            ("openat", opcode::OpenAt::new(HERE, NONE.as_ptr()).build()),
            ("fadvise", opcode::Fadvise::new(fd, 1, 99).build()),
            (
                "accept",
                opcode::Accept::new(unbound, null_mut(), null_mut()).build(),
            ),
            ("connect", opcode::Connect::new(unbound, nowhere, 3).build()),
            ("bind", opcode::Bind::new(bound, nowhere, 16).build()),
            ("listen", opcode::Listen::new(fd, 1).build()),
            ("socket", opcode::Socket::new(-1, 0, 0).build()),
            ("close", opcode::Close::new(Fd(1 << 20)).build()),
            ("fsync of none", opcode::Fsync::new(Fd(1 << 20)).build()),
            ("shutdown of none", opcode::Shutdown::new(fd, 1).build()),
            ("tee", opcode::Tee::new(fd, fd, 1).build()),
        ];
        for (name, entry) in breaks {
            let (result, goes_on) = tries(tried, entry);
            assert!(!goes_on, "{name} {result} {:?}", tried.ring.kind());
        }
        // A socket that is connected to nobody.
        let (result, goes_on) = tries(tried, opcode::Shutdown::new(unbound, 1).build());
        assert_eq!((result, goes_on), (-libc::ENOTCONN, true));
    });
}

#[test]
fn a_name_that_is_none_keeps_its_chain_from_beginning() {
    on_both(|tried| {
        let path = c"".as_ptr();
        let long = vec![b'x'; 5000];
        let long = CStr::from_bytes_with_nul(&[long.as_slice(), b"\0"].concat())
            .unwrap()
            .to_owned();
        let nop = || opcode::Nop::new().build();
        let gone = -libc::ECANCELED;
        let mkdir = opcode::MkDirAt::new(HERE, path).build();
        tried.chain(1, &[nop(), mkdir, nop()]);
        tried.until(3);
        assert_eq!(tried.take(), [(1, gone), (2, -libc::ENOENT), (3, gone)]);
        let open = opcode::OpenAt::new(HERE, long.as_ptr()).build();
        tried.chain(1, &[nop(), open]);
        tried.until(2);
        assert_eq!(tried.take(), [(1, gone), (2, -libc::ENAMETOOLONG)]);
    });
}

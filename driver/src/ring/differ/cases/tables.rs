//! Tables of files: what fills their rows, and what cannot.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use io_uring::types::{self, DestinationSlot, Fd, Fixed};
use io_uring::{opcode, squeue};

use super::{Tried, on_both, pipe};

const NO_TABLE: i32 = -libc::ENXIO;
pub(super) const NO_ROW: i32 = -libc::EINVAL;
pub(super) const EMPTY: i32 = -libc::EBADF;
pub(super) const FULL: i32 = -libc::ENFILE;
pub(super) const ANY: Option<u32> = None;
/// Where these are in an entry.
const FD: usize = 4;
const FILE_INDEX: usize = 44;

/// What it is answered behind another; if it is wrong itself, that one never begins.
fn refused(tried: &mut Tried, entry: squeue::Entry) -> i32 {
    tried.chain(1, &[opcode::Nop::new().build(), entry]);
    tried.until(2);
    let told = tried.take();
    assert_eq!(told[0].1, -libc::ECANCELED, "{told:?}");
    told[1].1
}

fn slot(row: Option<u32>) -> DestinationSlot {
    match row {
        Some(row) => DestinationSlot::try_from_slot_target(row).unwrap(),
        None => DestinationSlot::auto_target(),
    }
}

pub(super) fn open(row: Option<u32>, flags: i32) -> squeue::Entry {
    let open = opcode::OpenAt::new(Fd(libc::AT_FDCWD), c"/dev/zero".as_ptr());
    open.flags(flags).file_index(Some(slot(row))).build()
}

fn socket(row: Option<u32>, flags: i32) -> squeue::Entry {
    let socket = opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM | flags, 0);
    socket.file_index(Some(slot(row))).build()
}

pub(super) fn accept(listener: RawFd, row: Option<u32>, flags: i32) -> squeue::Entry {
    let accept = opcode::Accept::new(Fd(listener), std::ptr::null_mut(), std::ptr::null_mut());
    accept.flags(flags).file_index(Some(slot(row))).build()
}

pub(super) fn accept_many(listener: RawFd, row: Option<u32>) -> squeue::Entry {
    let accept = opcode::AcceptMulti::new(Fd(listener)).build();
    with_field(accept, FILE_INDEX, row.map_or(u32::MAX, |row| row + 1))
}

pub(super) fn close(row: u32) -> squeue::Entry {
    opcode::Close::new(Fixed(row)).build()
}

pub(super) fn read(row: u32, into: &mut [u8]) -> squeue::Entry {
    opcode::Read::new(Fixed(row), into.as_mut_ptr(), into.len() as u32).build()
}

/// With 4 bytes of it changed.
pub(super) fn with_field(entry: squeue::Entry, at: usize, value: u32) -> squeue::Entry {
    // SAFETY: an entry is 64 bytes, in which all bits are valid.
    let mut bytes: [u8; 64] = unsafe { std::mem::transmute(entry) };
    bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    // SAFETY: as above.
    unsafe { std::mem::transmute::<[u8; 64], squeue::Entry>(bytes) }
}

/// The rows that three times any row brings.
fn next_rows(tried: &mut Tried) -> [i32; 3] {
    [(); 3].map(|()| tried.one(open(ANY, 0)))
}

#[test]
fn a_table_is_made_once_and_of_as_many_rows_as_it_may_have() {
    on_both(|tried| {
        let errno = |result: std::io::Result<()>| result.unwrap_err().raw_os_error().unwrap();
        let tables = tried.tables();
        assert_eq!(errno(tables.unregister_files()), libc::ENXIO);
        let none = tables.register_files_update(0, &[0]).unwrap_err();
        assert_eq!(none.raw_os_error(), Some(libc::ENXIO));
        assert_eq!(errno(tables.register_files_sparse(0)), libc::EINVAL);
        assert_eq!(errno(tables.register_files_sparse(1 << 21)), libc::EMFILE);
        tables.register_files_sparse(2).unwrap();
        assert_eq!(errno(tables.register_files_sparse(2)), libc::EBUSY);
        tables.unregister_files().unwrap();
        tables.register_files_sparse(3).unwrap();
        assert_eq!(errno(tables.register_buffers_sparse(0)), libc::EINVAL);
        assert_eq!(errno(tables.register_buffers_sparse(1 << 15)), libc::EINVAL);
        tables.register_buffers_sparse(2).unwrap();
        assert_eq!(errno(tables.register_buffers_sparse(2)), libc::EBUSY);
    });
}

#[test]
fn rows_are_filled_and_emptied_up_to_the_first_that_cannot_be() {
    on_both(|tried| {
        let (reader, writer) = pipe();
        let fd = reader.as_raw_fd();
        tried.tables().register_files_sparse(4).unwrap();
        let mut update = |row, fds: &[RawFd]| {
            let updated = tried.tables().register_files_update(row, fds);
            updated.map_err(|error| error.raw_os_error().unwrap())
        };
        assert_eq!(update(0, &[fd, fd, fd, fd]), Ok(4));
        assert_eq!(update(0, &[-1]), Ok(1));
        assert_eq!(update(0, &[-1, -2, -1]), Ok(3));
        assert_eq!(update(0, &[fd, 9999, fd]), Ok(1));
        assert_eq!(update(0, &[9999]), Err(libc::EBADF));
        assert_eq!(update(3, &[fd, fd]), Err(libc::EINVAL));
        assert_eq!(update(9, &[fd]), Err(libc::EINVAL));
        let mut bytes = [0; 4];
        let empty = [0, 1, 2, 4, u32::MAX].map(|row| tried.one(read(row, &mut bytes)));
        assert_eq!(empty, [EMPTY; 5]);
        rustix::io::write(&writer, b"abc").unwrap();
        assert_eq!((tried.one(read(3, &mut bytes)), &bytes), (3, b"abc\0"));
    });
}

#[test]
fn what_is_opened_into_a_row_is_told_of_by_none_or_the_row() {
    on_both(|tried| {
        assert_eq!(tried.one(open(Some(0), 0)), NO_TABLE);
        assert_eq!(tried.one(socket(Some(0), 0)), NO_TABLE);
        assert_eq!(tried.one(open(ANY, 0)), FULL);
        assert_eq!(tried.one(close(0)), NO_TABLE);
        tried.tables().register_files_sparse(4).unwrap();
        assert_eq!(tried.one(open(Some(4), 0)), NO_ROW);
        assert_eq!(tried.one(socket(Some(9), 0)), NO_ROW);
        // Over what is there already, too.
        assert_eq!(tried.one(socket(Some(0), 0)), 0);
        assert_eq!(tried.one(open(Some(0), 0)), 0);
        assert_eq!(next_rows(tried), [1, 2, 3]);
        assert_eq!(next_rows(tried), [FULL; 3]);
        let how = types::OpenHow::new();
        let path = c"/dev/zero".as_ptr();
        let open2 = |row| {
            let open2 = opcode::OpenAt2::new(Fd(libc::AT_FDCWD), path, &raw const how);
            open2.file_index(Some(slot(row))).build()
        };
        assert_eq!(tried.one(open2(ANY)), FULL);
        assert_eq!(tried.one(open2(Some(3))), 0);
        for row in 0..4 {
            let mut bytes = [7; 4];
            assert_eq!((tried.one(read(row, &mut bytes)), bytes), (4, [0; 4]));
        }
        assert_eq!(
            [2, 2, 4].map(|row| tried.one(close(row))),
            [0, EMPTY, NO_ROW]
        );
        let away = close(1).flags(squeue::Flags::ASYNC);
        assert_eq!(tried.one(away), 0);
        // The last that was given up is the first that is given out; then those behind it.
        assert_eq!(next_rows(tried), [1, 2, FULL]);
        assert_eq!([3, 2, 0].map(|row| tried.one(close(row))), [0; 3]);
        assert_eq!(tried.one(open(Some(2), 0)), 0);
        assert_eq!(next_rows(tried), [3, 0, FULL]);
        tried.tables().register_files_update(0, &[-1; 4]).unwrap();
        assert_eq!(next_rows(tried), [3, 0, 1]);
        tried.tables().unregister_files().unwrap();
        assert_eq!(tried.one(close(0)), NO_TABLE);
    });
}

#[test]
fn what_cannot_be_said_of_a_row_is_refused_before_anything_begins() {
    on_both(|tried| {
        tried.tables().register_files_sparse(4).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = listener.as_raw_fd();
        let mut how = types::OpenHow::new().flags(libc::O_CLOEXEC as u64);
        let path = c"/dev/zero".as_ptr();
        let open2 = opcode::OpenAt2::new(Fd(libc::AT_FDCWD), path, &raw mut how);
        let wrong = [
            open(Some(0), libc::O_CLOEXEC),
            open(ANY, libc::O_CLOEXEC),
            open2.file_index(Some(slot(Some(0)))).build(),
            socket(Some(0), libc::SOCK_CLOEXEC),
            accept(listener, Some(0), libc::SOCK_CLOEXEC),
            accept_many(listener, Some(0)),
            with_field(close(0), FD, 5),
        ];
        for entry in wrong {
            assert_eq!(refused(tried, entry), -libc::EINVAL);
        }
        let fixed = squeue::Flags::FIXED_FILE;
        let (dir, from, to) = (Fd(0), c"a".as_ptr(), c"b".as_ptr());
        let mut stat = [0u8; 256];
        let stat = stat.as_mut_ptr().cast();
        let xattr = opcode::GetXattr::new(from, std::ptr::null_mut(), to, 0);
        let named_by_path = [
            opcode::OpenAt::new(dir, from).build(),
            opcode::Close::new(Fd(0)).build(),
            opcode::Statx::new(dir, from, stat).build(),
            opcode::UnlinkAt::new(dir, from).build(),
            opcode::RenameAt::new(dir, from, dir, to).build(),
            opcode::MkDirAt::new(dir, from).build(),
            opcode::SymlinkAt::new(dir, from, to).build(),
            opcode::LinkAt::new(dir, from, dir, to).build(),
            xattr.build(),
            opcode::SetXattr::new(from, to.cast(), to, 0).build(),
        ];
        for entry in named_by_path {
            assert_eq!(refused(tried, entry.flags(fixed)), EMPTY);
        }
        // Where there is no file the flag says nothing.
        assert_eq!(tried.one(opcode::Nop::new().build().flags(fixed)), 0);
    });
}

#[test]
fn a_chain_goes_on_with_what_it_has_put_into_a_row() {
    on_both(|tried| {
        tried.tables().register_files_sparse(2).unwrap();
        let address = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: 0,
            sin_addr: libc::in_addr {
                s_addr: u32::from_ne_bytes([127, 0, 0, 1]),
            },
            sin_zero: [0; 8],
        };
        let size = size_of_val(&address) as u32;
        let mut bytes = [[7; 4]; 2];
        let [first, second] = &mut bytes;
        let chain = [
            socket(Some(0), 0),
            opcode::Bind::new(Fixed(0), (&raw const address).cast(), size).build(),
            opcode::Listen::new(Fixed(0), 5).build(),
            open(Some(1), 0),
            read(1, first),
            close(1),
            read(1, second),
        ];
        tried.chain(1, &chain);
        tried.until(7);
        let told: Vec<_> = tried.take().into_iter().map(|(_, result)| result).collect();
        assert_eq!(told, [0, 0, 0, 0, 4, 0, EMPTY]);
        assert_eq!(bytes, [[0; 4], [7; 4]]);
    });
}

#[test]
fn a_chain_breaks_behind_what_finds_no_row_but_a_socket() {
    on_both(|tried| {
        tried.tables().register_files_sparse(1).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fd = listener.as_raw_fd();
        let _clients = [(); 2].map(|()| TcpStream::connect(listener.local_addr().unwrap()));
        assert_eq!(tried.one(open(Some(0), 0)), 0);
        for (row, errno) in [(ANY, FULL), (Some(1), NO_ROW)] {
            for (entry, breaks) in [
                (open(row, 0), true),
                (accept(fd, row, 0), true),
                (socket(row, 0), false),
            ] {
                tried.chain(1, &[entry, opcode::Nop::new().build()]);
                tried.until(2);
                let then = if breaks { -libc::ECANCELED } else { 0 };
                assert_eq!(tried.take(), [(1, errno), (2, then)]);
            }
        }
        let none = opcode::Socket::new(99, 0, 0).file_index(Some(slot(Some(0))));
        tried.chain(1, &[none.build(), opcode::Nop::new().build()]);
        tried.until(2);
        let none = -libc::EAFNOSUPPORT;
        assert_eq!(tried.take(), [(1, none), (2, -libc::ECANCELED)]);
    });
}

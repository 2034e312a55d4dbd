//! Memory that the ring knows.

use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use io_uring::types::{Fd, Fixed};
use io_uring::{opcode, squeue};

use super::{on_both, pipe};

const OUTSIDE: i32 = -libc::EFAULT;

fn zeros() -> std::fs::File {
    std::fs::File::open("/dev/zero").unwrap()
}

#[test]
fn what_does_not_lie_in_the_row_is_not_touched() {
    on_both(|tried| {
        let zeros = zeros();
        let mut memory = vec![7u8; 8192];
        let at = memory.as_mut_ptr();
        // SAFETY: within the memory, or never touched.
        let read = |begin: usize, len: u32, row: u16| {
            let into = at.wrapping_add(begin);
            opcode::ReadFixed::new(Fd(zeros.as_raw_fd()), into, len, row).build()
        };
        assert_eq!(tried.one(read(0, 1, 0)), OUTSIDE);
        tried.tables().register_buffers_sparse(2).unwrap();
        let mut update = |row, begin: usize, len| {
            let updated = tried
                .tables()
                .register_buffers_update(row, at.wrapping_add(begin), len);
            updated.map_err(|error| error.raw_os_error().unwrap())
        };
        assert_eq!(update(2, 0, 1), Err(libc::EINVAL));
        assert_eq!(update(0, 0, 0), Err(libc::EFAULT));
        assert_eq!(update(0, 0, (1 << 30) + 1), Err(libc::EFAULT));
        assert_eq!(update(0, 100, 4000), Ok(()));
        let null = tried
            .tables()
            .register_buffers_update(0, std::ptr::null(), 5);
        assert_eq!(null.unwrap_err().raw_os_error(), Some(libc::EFAULT));
        tried
            .tables()
            .register_buffers_update(1, std::ptr::null(), 0)
            .unwrap();
        let outside = [(99, 1), (0, 9), (4099, 2), (0, 0), (200, u32::MAX)];
        for (begin, len) in outside {
            assert_eq!(tried.one(read(begin, len, 0)), OUTSIDE, "{begin} {len}");
        }
        assert_eq!(
            [1, 2, 9].map(|row| tried.one(read(100, 1, row))),
            [OUTSIDE; 3]
        );
        assert!(memory.iter().all(|byte| *byte == 7));
        let inside = [(100, 4000), (4099, 1), (200, 0), (4100, 0)];
        for (begin, len) in inside {
            assert_eq!(tried.one(read(begin, len, 0)), len as i32, "{begin}");
        }
        let zeroed = memory.iter().filter(|byte| **byte == 0).count();
        assert_eq!((zeroed, memory[99], memory[4100]), (4000, 7, 7));
        // It is no mistake of the entry's: what is before it in its chain begins.
        tried.chain(1, &[opcode::Nop::new().build(), read(0, 9, 0)]);
        tried.until(2);
        assert_eq!(tried.take(), [(1, 0), (2, OUTSIDE)]);
        // What it is about comes first.
        let nothing = opcode::ReadFixed::new(Fd(-1), at, 9, 0).build();
        assert_eq!(tried.one(nothing), -libc::EBADF);
        let picks = read(200, 9, 0).flags(squeue::Flags::BUFFER_SELECT);
        assert_eq!(tried.one(picks), -libc::EOPNOTSUPP);
        tried
            .tables()
            .register_buffers_update(0, std::ptr::null(), 0)
            .unwrap();
        assert_eq!(tried.one(read(200, 1, 0)), OUTSIDE);
    });
}

#[test]
fn what_has_begun_needs_the_row_no_more() {
    on_both(|tried| {
        let (reader, writer) = pipe();
        let mut memory = vec![0u8; 4096];
        let at = memory.as_mut_ptr();
        tried.tables().register_buffers_sparse(1).unwrap();
        tried.tables().register_buffers_update(0, at, 4096).unwrap();
        let read = || opcode::ReadFixed::new(Fd(reader.as_raw_fd()), at, 9, 0).build();
        tried.stage(1, read());
        assert!(tried.quiet());
        tried
            .tables()
            .register_buffers_update(0, std::ptr::null(), 0)
            .unwrap();
        assert_eq!(
            {
                tried.stage(2, read());
                tried.until(1);
                tried.take()
            },
            [(2, OUTSIDE)]
        );
        rustix::io::write(&writer, b"late").unwrap();
        tried.until(1);
        assert_eq!(tried.take(), [(1, 4)]);
        assert_eq!(memory[..4], *b"late");
    });
}

#[test]
fn whatever_can_be_read_and_written_can_be_so_with_known_memory() {
    on_both(|tried| {
        let mut memory: Vec<u8> = (0..200).collect();
        let at = memory.as_mut_ptr();
        tried.tables().register_buffers_sparse(2).unwrap();
        tried.tables().register_buffers_update(1, at, 200).unwrap();
        tried.tables().register_files_sparse(3).unwrap();
        let (mut client, server) = UnixStream::pair().unwrap();
        let (from, to) = pipe();
        let file = tempfile::tempfile().unwrap();
        let fds = [file.as_raw_fd(), server.as_raw_fd(), to.as_raw_fd()];
        tried.tables().register_files_update(0, &fds).unwrap();
        let own = u64::MAX;
        let write = |row, offset| {
            let write = opcode::WriteFixed::new(Fixed(row), at, 100, 1);
            write.offset(offset).build()
        };
        let read = |row, len, offset| {
            let read = opcode::ReadFixed::new(Fixed(row), at.wrapping_add(100), len, 1);
            read.offset(offset).build()
        };
        assert_eq!(tried.one(write(0, 7)), 100);
        assert_eq!(tried.one(read(0, 50, 17)), 50);
        assert_eq!(memory[100..150], *(10..60).collect::<Vec<_>>());
        assert_eq!(tried.one(read(0, 50, own)), 50);
        assert_eq!(memory[100..107], [0; 7]);
        assert_eq!(tried.one(read(0, 100, 57)), 50);
        // A socket has no offsets but its beginning.
        assert_eq!(tried.one(write(1, 4)), -libc::ESPIPE);
        assert_eq!(tried.one(read(1, 4, 4)), -libc::ESPIPE);
        assert_eq!(tried.one(write(1, own)), 100);
        client.write_all(b"12345").unwrap();
        assert_eq!(tried.one(read(1, 3, 0)), 3);
        assert_eq!(memory[100..103], *b"123");
        assert_eq!(tried.one(write(2, 9)), 100);
        let mut bytes = [0; 200];
        assert_eq!(rustix::io::read(&from, &mut bytes), Ok(100));
        assert_eq!(bytes[..100], memory[..100]);
        // Short, it breaks its chain.
        let rest = opcode::Nop::new().build();
        tried.chain(1, &[read(1, 30, own), rest.clone()]);
        tried.until(2);
        assert_eq!(tried.take(), [(1, 2), (2, -libc::ECANCELED)]);
        tried.chain(1, &[read(0, 30, 0), rest]);
        tried.until(2);
        assert_eq!(tried.take(), [(1, 30), (2, 0)]);
    });
}

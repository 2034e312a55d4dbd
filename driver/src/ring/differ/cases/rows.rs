//! Files in rows of the table: what is done with them there.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use io_uring::types::{CancelBuilder, Fd, Fixed};
use io_uring::{opcode, squeue};

use super::tables::{ANY, EMPTY, FULL, NO_ROW, accept, accept_many, close, open, read, with_field};
use super::{PATIENCE, all, on_both, pipe, poll_of};

/// Where it is in an entry.
const FLAGS: usize = 28;
/// Of a cancel.
const ALL: u32 = 1;
const BY_FD: u32 = 1 << 1;
const FD_FIXED: u32 = 1 << 3;

#[test]
fn what_has_begun_on_a_row_keeps_its_file_and_no_more_does() {
    on_both(|tried| {
        let (reader, writer) = pipe();
        tried.tables().register_files_sparse(2).unwrap();
        let fds = [reader.as_raw_fd(), writer.as_raw_fd()];
        tried.tables().register_files_update(0, &fds).unwrap();
        drop(reader);
        let mut bytes = [0; 4];
        tried.stage(1, read(0, &mut bytes));
        assert!(tried.quiet());
        tried.stage(2, close(0));
        tried.until(1);
        assert_eq!(tried.take(), [(2, 0)]);
        assert!(tried.quiet());
        rustix::io::write(&writer, b"late").unwrap();
        tried.until(1);
        assert_eq!((tried.take(), &bytes), (vec![(1, 4)], b"late"));
        // Nobody reads any more.
        assert_eq!(
            rustix::io::write(&writer, b"x"),
            Err(rustix::io::Errno::PIPE)
        );
        // A row keeps a file whose number is closed.
        let (reader, writer) = pipe();
        let fd = writer.as_raw_fd();
        tried.tables().register_files_update(1, &[fd]).unwrap();
        drop(writer);
        let write = || opcode::Write::new(Fixed(1), b"row".as_ptr(), 3).build();
        assert_eq!(tried.one(write()), 3);
        // Until another takes its place.
        assert_eq!(tried.one(open(Some(1), libc::O_WRONLY)), 0);
        assert_eq!(tried.one(write()), 3);
        tried.tables().register_files_update(1, &[-1]).unwrap();
        assert_eq!(tried.one(write()), EMPTY);
        let mut all = Vec::new();
        std::fs::File::from(reader).read_to_end(&mut all).unwrap();
        assert_eq!(all, b"row");
    });
}

#[test]
fn a_connection_for_which_no_row_is_free_is_dropped() {
    on_both(|tried| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fd = listener.as_raw_fd();
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ended = |mut client: TcpStream| {
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.read(&mut [0]).unwrap()
        };
        tried.tables().register_files_sparse(3).unwrap();
        let clients = [(); 5].map(|()| connect());
        let row = accept(fd, Some(1), 0);
        assert_eq!(tried.one(row), 0);
        tried.stage(1, accept_many(fd, ANY));
        tried.until(3);
        assert_eq!(tried.told, [(1, 2, true), (1, 0, true), (1, FULL, false)]);
        tried.take();
        assert_eq!(tried.one(accept(fd, Some(7), 0)), NO_ROW);
        let [first, second, third, refused, nowhere] = clients;
        assert_eq!([refused, nowhere].map(ended), [0, 0]);
        for (mut client, row) in [(first, 1), (second, 2), (third, 0)] {
            let mut bytes = [0; 2];
            client.write_all(&[row as u8; 2]).unwrap();
            let recv = opcode::Recv::new(Fixed(row), bytes.as_mut_ptr(), 2).build();
            assert_eq!((tried.one(recv), bytes), (2, [row as u8; 2]));
            let send = opcode::Send::new(Fixed(row), bytes.as_ptr(), 2).build();
            assert_eq!(tried.one(send), 2);
            client.read_exact(&mut bytes).unwrap();
            assert_eq!(tried.one(close(row)), 0);
            assert_eq!(ended(client), 0);
        }
        tried.stage(1, accept_many(fd, ANY));
        assert!(tried.quiet());
        let _client = connect();
        tried.until(1);
        assert_eq!(tried.told, [(1, 0, true)]);
        tried.take();
        tried.stage(2, all());
        tried.until(2);
        assert_eq!(tried.take(), [(1, -libc::ECANCELED), (2, 1)]);
    });
}

#[test]
fn a_cancel_by_descriptor_or_row_ends_what_is_done_at_the_file() {
    on_both(|tried| {
        let (reader, _writer) = pipe();
        let (other, _writer) = pipe();
        let copy = reader.try_clone().unwrap();
        tried.tables().register_files_sparse(3).unwrap();
        let fds = [reader.as_raw_fd(), other.as_raw_fd()];
        tried.tables().register_files_update(0, &fds).unwrap();
        let readable = libc::POLLIN as u32;
        let fixed = |cancel| with_field(cancel, FLAGS, FD_FIXED | BY_FD | ALL);
        let by = |fd| opcode::AsyncCancel2::new(CancelBuilder::fd(Fd(fd)).all()).build();
        let ways = [
            by(reader.as_raw_fd()),
            by(copy.as_raw_fd()),
            opcode::AsyncCancel2::new(CancelBuilder::fd(Fixed(0)).all()).build(),
            fixed(by(0)),
            by(0).flags(squeue::Flags::FIXED_FILE),
        ];
        for cancel in ways {
            tried.stage(1, opcode::PollAdd::new(Fixed(0), readable).build());
            tried.stage(2, poll_of(&reader));
            tried.stage(3, opcode::PollAdd::new(Fixed(1), readable).build());
            tried.stage(4, poll_of(&other));
            assert!(tried.quiet());
            tried.stage(9, cancel);
            tried.until(3);
            let ended = -libc::ECANCELED;
            assert_eq!(tried.take(), [(1, ended), (2, ended), (9, 2)]);
            tried.stage(9, all());
            tried.until(3);
            assert_eq!(tried.take(), [(3, ended), (4, ended), (9, 2)]);
        }
        assert_eq!(tried.one(fixed(by(2))), EMPTY);
        assert_eq!(tried.one(with_field(by(0), FLAGS, FD_FIXED)), -libc::ENOENT);
    });
}

#[test]
fn a_splice_takes_from_a_row_and_gives_to_one() {
    on_both(|tried| {
        let (from, writer) = pipe();
        let (reader, to) = pipe();
        tried.tables().register_files_sparse(3).unwrap();
        let fds = [from.as_raw_fd(), to.as_raw_fd()];
        tried.tables().register_files_update(0, &fds).unwrap();
        let splice = |row| opcode::Splice::new(Fixed(row), -1, Fixed(1), -1, 3).build();
        tried.stage(1, splice(0));
        drop(from);
        assert!(tried.quiet());
        rustix::io::write(&writer, b"abcdef").unwrap();
        tried.until(1);
        assert_eq!(tried.take(), [(1, 3)]);
        tried.tables().register_files_update(0, &[-1]).unwrap();
        let mut bytes = [0; 8];
        assert_eq!(rustix::io::read(&reader, &mut bytes), Ok(3));
        assert_eq!(bytes[..3], *b"abc");
        assert_eq!([0, 2, 7].map(|row| tried.one(splice(row))), [EMPTY; 3]);
        let tee = opcode::Tee::new(Fixed(0), Fixed(1), 3).build();
        assert_eq!(tried.one(tee), EMPTY);
    });
}

#[test]
fn multishots_of_rows_tell_again_and_again() {
    on_both(|tried| {
        let (mut one, other) = UnixStream::pair().unwrap();
        tried.tables().register_files_sparse(1).unwrap();
        let fd = other.as_raw_fd();
        tried.tables().register_files_update(0, &[fd]).unwrap();
        drop(other);
        let poll = opcode::PollAdd::new(Fixed(0), libc::POLLIN as u32);
        tried.stage(1, poll.multi(true).build());
        assert!(tried.quiet());
        for _ in 0..3 {
            one.write_all(b"x").unwrap();
            tried.until(1);
            assert_eq!(tried.told, [(1, libc::POLLIN.into(), true)]);
            tried.take();
        }
        tried.tables().register_files_update(0, &[-1]).unwrap();
        one.write_all(b"x").unwrap();
        tried.until(1);
        assert_eq!(tried.told, [(1, libc::POLLIN.into(), true)]);
        tried.take();
        tried.stage(2, opcode::AsyncCancel::new(1).build());
        tried.until(2);
        assert_eq!(tried.take(), [(1, -libc::ECANCELED), (2, 0)]);
        assert!(one.write_all(b"x").is_err());
    });
}

//! A pipe whose two ends one task has: a byte is written, then awaited and read, again and again.
#![allow(unsafe_code, reason = "the ring by hand takes entries unchecked")]

use std::os::fd::{AsRawFd, OwnedFd};

use annulet_benches::{Annulet, Executor, Tokio, cpu_time};
use io_uring::{IoUring, opcode, types};
use rustix::event::epoll;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::per_op;

pub(crate) fn annulet() {
    let runtime = Annulet::new();
    per_op(1, |rounds| {
        runtime.block_on(async {
            let (reader, writer) = runtime::fs::pipe().expect("descriptors are to be had");
            let mut byte = [7];
            let before = cpu_time();
            for _ in 0..rounds {
                let (written, back) = writer.write(byte).await;
                assert_eq!(written.expect("it is read"), 1);
                let (read, back) = reader.read(back).await;
                assert_eq!(read.expect("it is written"), 1);
                byte = back;
            }
            let used = cpu_time() - before;
            assert_eq!(byte, [7]);
            used
        })
    });
}

pub(crate) fn tokio() {
    let runtime = Tokio::new();
    per_op(1, |rounds| {
        runtime.block_on(async {
            let pipe = tokio::net::unix::pipe::pipe();
            let (mut writer, mut reader) = pipe.expect("descriptors are to be had");
            let mut byte = [7];
            let before = cpu_time();
            for _ in 0..rounds {
                writer.write_all(&byte).await.expect("it is read");
                let read = reader.read_exact(&mut byte).await;
                assert_eq!(read.expect("it is written"), 1);
            }
            let used = cpu_time() - before;
            assert_eq!(byte, [7]);
            used
        })
    });
}

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).expect("descriptors are to be had")
}

/// Three system calls a byte.
pub(crate) fn epoll() {
    let (reader, writer) = pipe();
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).expect("descriptors are to be had");
    let data = epoll::EventData::new_u64(0);
    epoll::add(&set, &reader, data, epoll::EventFlags::IN).expect("a pipe can be watched");
    let flags = epoll::EventFlags::empty();
    let mut ready = [epoll::Event { flags, data }; 1];
    let mut byte = [7];
    per_op(1, |rounds| {
        let before = cpu_time();
        for _ in 0..rounds {
            rustix::io::write(&writer, &byte).expect("it is read");
            let count = epoll::wait(&set, &mut ready, None).expect("no signal comes");
            assert_eq!(count, 1);
            let read = rustix::io::read(&reader, &mut byte).expect("it is written");
            assert_eq!((read, byte), (1, [7]));
        }
        cpu_time() - before
    });
}

/// One system call a byte: the read and the write go to the kernel together.
pub(crate) fn ring(ring: &mut IoUring) {
    let (reader, writer) = pipe();
    let mut byte = [7_u8; 2];
    let (from, to) = byte.split_at_mut(1);
    let write = opcode::Write::new(types::Fd(writer.as_raw_fd()), from.as_ptr(), 1).build();
    let read = opcode::Read::new(types::Fd(reader.as_raw_fd()), to.as_mut_ptr(), 1).build();
    let both = [write, read];
    per_op(1, |rounds| {
        let before = cpu_time();
        for _ in 0..rounds {
            // SAFETY: the bytes outlive both completions, which are awaited each time.
            let pushed = unsafe { ring.submission().push_multiple(&both) };
            pushed.expect("they fit the queue");
            ring.submit_and_wait(2).expect("our own ring");
            assert!(ring.completion().all(|done| done.result() == 1));
        }
        cpu_time() - before
    });
}

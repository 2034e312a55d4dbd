//! What is the pipe's own; what every descriptor does is the spec suite's.

use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::*;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    runtime::Runtime::new().unwrap().block_on(future)
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn both_ends_are_close_on_exec() {
    let (reader, writer) = pipe().unwrap();
    for fd in [reader.as_fd(), writer.as_fd()] {
        let flags = rustix::io::fcntl_getfd(fd).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
}

#[test]
fn an_end_that_does_not_block_waits_here_all_the_same() {
    block_on(async {
        let (reader, mut writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let reader = PipeReader::from_std(reader).unwrap();
        let mut read = reader.read([0; 4]);
        assert!(poll_once(&mut read).is_pending());
        writer.write_all(b"late").unwrap();
        let (result, buf) = read.await;
        assert_eq!((result.unwrap(), &buf), (4, b"late"));
    });
}

#[test]
fn bytes_for_a_dropped_read_are_given_back_beside_the_standard_end() {
    block_on(async {
        let (reader, writer) = pipe().unwrap();
        writer.write_all("kept").await.0.unwrap();
        let mut read = reader.read([0; 8]);
        assert!(poll_once(&mut read).is_pending());
        drop(read);
        // Queued behind the dropped read, so this hears of it.
        reader.read([0; 1]).await.0.unwrap();
        let error = reader.into_std().await.unwrap_err();
        let (reader, bytes) = error.into_parts().unwrap();
        assert_eq!(bytes, b"ept");
        drop(reader);
    });
}

#[test]
fn closing_an_end_tells_the_other() {
    block_on(async {
        let (reader, writer) = pipe().unwrap();
        reader.close().await.unwrap();
        let error = writer.write_all("nobody").await.0.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        writer.close().await.unwrap();
        let error = writer.into_std().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(9));
    });
}

#[test]
fn the_other_end_hears_of_a_close_when_all_clones_are_closed() {
    block_on(async {
        let (reader, writer) = pipe().unwrap();
        let (reader_too, writer_too) = (reader.try_clone().unwrap(), writer.try_clone().unwrap());
        reader.close().await.unwrap();
        writer.write_all("for the clone").await.0.unwrap();
        writer.close().await.unwrap();
        assert!(writer.try_clone().is_err());
        assert_eq!(reader_too.read([0; 64]).await.0.unwrap(), 13);
        let mut end = reader_too.read([0; 64]);
        assert!(poll_once(&mut end).is_pending());
        writer_too.close().await.unwrap();
        assert_eq!(end.await.0.unwrap(), 0);
    });
}

//! TCP streams as `AsyncRead` and `AsyncWrite`.

use std::net::Shutdown;

use annulet_driver::{Endpoint, EndpointKind, async_read, async_write};

use super::{OwnedReadHalf, OwnedWriteHalf, TcpStream};

/// What the kernel may move by itself: without a limit for each read.
fn source(stream: &TcpStream) -> Option<Endpoint<'_>> {
    stream.read_limit.load().is_none().then(|| socket(stream))
}

fn sink(stream: &TcpStream) -> Option<Endpoint<'_>> {
    stream.write_limit.load().is_none().then(|| socket(stream))
}

fn socket(stream: &TcpStream) -> Endpoint<'_> {
    Endpoint {
        fd: &stream.fd,
        kind: EndpointKind::Socket,
    }
}

async_read!(TcpStream, |this| source(this));
async_write!(TcpStream, |this| sink(this), this.shutdown(Shutdown::Write));
async_read!(OwnedReadHalf, |this| source(this.as_ref()));
async_write!(OwnedWriteHalf, |this| sink(this.as_ref()), this.shutdown());

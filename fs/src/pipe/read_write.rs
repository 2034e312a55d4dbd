//! A pipe's ends as `AsyncRead` and `AsyncWrite`.

use annulet_driver::{Endpoint, EndpointKind, Fd, async_read, async_write};

use super::{PipeReader, PipeWriter};

fn pipe(fd: &Fd) -> Endpoint<'_> {
    Endpoint {
        fd,
        kind: EndpointKind::Pipe,
    }
}

async_read!(PipeReader, |this| Some(pipe(&this.fd)));
// The other end reads the end when this one is closed.
async_write!(PipeWriter, |this| Some(pipe(&this.fd)), this.close());

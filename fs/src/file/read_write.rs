//! A file as `AsyncRead` and `AsyncWrite`: at its cursor.

use std::future::ready;

use annulet_driver::{Endpoint, EndpointKind, async_read, async_write};
use rustix::fs::fstat;

use super::File;
use super::cursor::{CURSOR, STREAM};
use crate::metadata::FileType;

impl File {
    /// What the kernel may move by itself. With `O_DIRECT` it would have to be told how much.
    pub(crate) fn endpoint(&self) -> Option<Endpoint<'_>> {
        let kind = match self.kind() {
            _ if self.alignment.is_some() => return None,
            CURSOR => EndpointKind::File,
            STREAM => {
                let status = self.fd.with(|fd| Ok(fstat(fd)?)).ok()?;
                match FileType::from_mode(status.st_mode) {
                    kind if kind.is_fifo() => EndpointKind::Pipe,
                    kind if kind.is_socket() => EndpointKind::Socket,
                    _ => return None,
                }
            }
            _ => return None,
        };
        let fd = &self.fd;
        Some(Endpoint { fd, kind })
    }
}

async_read!(File, |this| this.endpoint());
// What is in a file needs no end.
async_write!(File, |this| this.endpoint(), {
    let _: &File = this;
    ready(Ok(()))
});

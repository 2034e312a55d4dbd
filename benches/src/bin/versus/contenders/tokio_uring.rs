//! Tokio-uring with its defaults (a ring of 256 entries watched by tokio's epoll): a task a connection, buffers moved in
//! and out.

use std::io;

use rustix::net::SocketFlags;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::{TcpListener, TcpStream};

use super::{Contender, Job, Service};

pub(super) const CONTENDER: Contender = Contender {
    name: "tokio-uring",
    about: "tokio-uring's TcpStream, with its defaults",
    services: &[(Service::Echo, serve)],
    works: &[],
};

fn serve(job: &Job) -> io::Result<()> {
    let listener = job.listen(SocketFlags::empty())?;
    let size = job.buffer;
    tokio_uring::start(async move {
        let listener = TcpListener::from_std(listener.into());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio_uring::spawn(echo(stream, size));
        }
    })
}

async fn echo(stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buf = vec![0; size];
    loop {
        let (read, filled) = stream.read(buf).await;
        let n = read?;
        if n == 0 {
            return Ok(());
        }
        let (sent, rest) = stream.write_all(filled.slice(..n)).await;
        sent?;
        buf = rest.into_inner();
    }
}

//! Glommio with its defaults: a task a connection, the streams' polled reads and writes.
#![allow(unsafe_code, reason = "glommio takes a listener only by its number")]

use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};
use rustix::net::SocketFlags;

use super::{Contender, Job, Service};

pub(super) const CONTENDER: Contender = Contender {
    name: "glommio",
    about: "glommio's TcpStream, with its defaults",
    services: &[(Service::Echo, serve)],
    works: &[],
};

fn serve(job: &Job) -> io::Result<()> {
    let listener = job.listen(SocketFlags::empty())?;
    // It is pinned already, with the whole process.
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make()?;
    executor.run(async {
        // SAFETY: the number is that of a listener, and nobody else's any more.
        let listener = unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) };
        loop {
            let stream = listener.accept().await?;
            stream.set_nodelay(true)?;
            glommio::spawn_local(echo(stream, job.buffer)).detach();
        }
    })
}

async fn echo(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buf = vec![0; size];
    loop {
        let n = stream.read(&mut buf).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..n]).await?;
    }
}

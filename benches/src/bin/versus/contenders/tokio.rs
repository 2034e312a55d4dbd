//! Tokio on one thread (`current_thread`), with its defaults: a task a connection.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Contender, Job, Service};
use crate::works;

pub(super) const CONTENDER: Contender = Contender {
    name: "tokio",
    about: "tokio's TcpStream on its current-thread runtime, a task a connection",
    services: &[(Service::Echo, echo)],
    works: works::tokio::WORKS,
};

fn echo(job: &Job) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let listener = TcpListener::bind(job.addr()).await?;
            job.listening(listener.local_addr()?)?;
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                tokio::spawn(echo_one(stream, job.buffer));
            }
        })
}

async fn echo_one(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buf = vec![0; size];
    loop {
        let n = stream.read(&mut buf).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..n]).await?;
    }
}

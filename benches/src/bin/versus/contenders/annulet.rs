//! Annulet, with its defaults: a task a connection.

use std::io;

use runtime::Runtime;
use runtime::net::{TcpListener, TcpStream};

use super::{Contender, Job, Service};
use crate::works;

pub(super) const CONTENDER: Contender = Contender {
    name: "annulet",
    about: "Annulet's TcpStream, a task a connection",
    services: &[(Service::Echo, echo)],
    works: works::annulet::WORKS,
};

fn echo(job: &Job) -> io::Result<()> {
    serve(Runtime::new()?, job)
}

pub(super) fn serve(runtime: Runtime, job: &Job) -> io::Result<()> {
    runtime.block_on(async {
        let listener = TcpListener::bind(job.addr()).await?;
        job.listening(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            runtime::spawn(echo_one(stream, job.buffer));
        }
    })
}

async fn echo_one(stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buf = Vec::with_capacity(size);
    loop {
        let (read, filled) = stream.read(buf).await;
        if read? == 0 {
            return Ok(());
        }
        let (sent, filled) = stream.write_all(filled).await;
        sent?;
        buf = filled;
    }
}

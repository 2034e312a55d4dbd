//! Compio on io_uring: a task a connection, buffers moved in and out.
//!
//! `compio` has its makers' defaults: no set-up flags, 1024 entries. `compio-tuned` has the options of its
//! `ProactorBuilder` that suit one thread best.

use std::io;

use compio::BufResult;
use compio::driver::ProactorBuilder;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::RuntimeBuilder;
use rustix::net::SocketFlags;

use super::{Contender, Job, Service};

pub(super) const CONTENDER: Contender = Contender {
    name: "compio",
    about: "compio's TcpStream, with its defaults",
    services: &[(Service::Echo, |job| serve(&ProactorBuilder::new(), job))],
    works: &[],
};

pub(super) const TUNED: Contender = Contender {
    name: "compio-tuned",
    about: "compio, its ring set up with SINGLE_ISSUER, DEFER_TASKRUN and TASKRUN_FLAG",
    services: &[(Service::Echo, |job| serve(&tuned(), job))],
    works: &[],
};

fn tuned() -> ProactorBuilder {
    let mut builder = ProactorBuilder::new();
    builder
        .single_issuer(true)
        .defer_taskrun(true)
        .taskrun_flag(true);
    builder
}

fn serve(proactor: &ProactorBuilder, job: &Job) -> io::Result<()> {
    let listener = job.listen(SocketFlags::empty())?;
    let runtime = RuntimeBuilder::new()
        .with_proactor(proactor.clone())
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener.into())?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            compio::runtime::spawn(echo(stream, job.buffer)).detach();
        }
    })
}

async fn echo(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buf = Vec::with_capacity(size);
    loop {
        let BufResult(read, filled) = stream.read(buf).await;
        if read? == 0 {
            return Ok(());
        }
        let BufResult(sent, mut filled) = stream.write_all(filled).await;
        sent?;
        filled.clear();
        buf = filled;
    }
}

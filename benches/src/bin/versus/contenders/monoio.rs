//! Monoio on its io_uring driver: a task a connection, buffers moved in and out.
//!
//! `monoio` has its makers' defaults: no set-up flags, 1024 entries. `monoio-tuned` has the flags that suit one thread
//! best, which monoio leaves to its users (`RuntimeBuilder::uring_builder`).

use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};
use rustix::net::SocketFlags;

use super::{Contender, Job, Service};

pub(super) const CONTENDER: Contender = Contender {
    name: "monoio",
    about: "monoio's TcpStream on its io_uring driver, with its defaults",
    services: &[(Service::Echo, |job| serve(RuntimeBuilder::new(), job))],
    works: &[],
};

pub(super) const TUNED: Contender = Contender {
    name: "monoio-tuned",
    about: "monoio, its ring set up with SINGLE_ISSUER and DEFER_TASKRUN",
    services: &[(Service::Echo, |job| serve(tuned(), job))],
    works: &[],
};

fn tuned() -> RuntimeBuilder<IoUringDriver> {
    let mut ring = io_uring_06::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun();
    RuntimeBuilder::new().uring_builder(ring)
}

fn serve(builder: RuntimeBuilder<IoUringDriver>, job: &Job) -> io::Result<()> {
    let listener = job.listen(SocketFlags::empty())?;
    builder.build()?.block_on(async {
        let listener = TcpListener::from_std(listener.into())?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            monoio::spawn(echo(stream, job.buffer));
        }
    })
}

async fn echo(mut stream: TcpStream, size: usize) -> io::Result<()> {
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

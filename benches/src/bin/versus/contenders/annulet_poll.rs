//! Annulet where io_uring is refused: the same server on the ring in user space.

use std::io;

use runtime::{Builder, DriverKind, Runtime};

use super::annulet::{http, once, serve, serve_echo, sink, source};
use super::{Contender, Job, Service};

pub(super) const CONTENDER: Contender = Contender {
    name: "annulet-poll",
    about: "the same as annulet, on its ring in user space",
    services: &[
        (Service::Echo, |job| serve_echo(runtime(job)?, job)),
        (Service::Sink, |job| serve(runtime(job)?, job, sink)),
        (Service::Source, |job| serve(runtime(job)?, job, source)),
        (Service::Once, |job| serve(runtime(job)?, job, once)),
        (Service::Http, |job| serve(runtime(job)?, job, http)),
    ],
    works: &[],
};

fn runtime(job: &Job) -> io::Result<Runtime> {
    Builder::new()
        .driver(DriverKind::Poll)
        .chunk_size(job.buffer)
        .build()
}

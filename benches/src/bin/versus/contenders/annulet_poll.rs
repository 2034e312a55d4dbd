//! Annulet where io_uring is refused: the same server on the ring in user space.

use std::io;

use runtime::{Builder, DriverKind, Runtime};

use super::annulet::{echo, http, once, serve, sink, source};
use super::{Contender, Service};

pub(super) const CONTENDER: Contender = Contender {
    name: "annulet-poll",
    about: "the same as annulet, on its ring in user space",
    services: &[
        (Service::Echo, |job| serve(runtime()?, job, echo)),
        (Service::Sink, |job| serve(runtime()?, job, sink)),
        (Service::Source, |job| serve(runtime()?, job, source)),
        (Service::Once, |job| serve(runtime()?, job, once)),
        (Service::Http, |job| serve(runtime()?, job, http)),
    ],
    works: &[],
};

fn runtime() -> io::Result<Runtime> {
    Builder::new().driver(DriverKind::Poll).build()
}

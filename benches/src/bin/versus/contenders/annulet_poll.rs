//! Annulet where io_uring is refused: the same server on the ring in user space.

use std::io;

use runtime::{Builder, DriverKind};

use super::{Contender, Job, Service, annulet};

pub(super) const CONTENDER: Contender = Contender {
    name: "annulet-poll",
    about: "the same as annulet, on its ring in user space",
    services: &[(Service::Echo, echo)],
    works: &[],
};

fn echo(job: &Job) -> io::Result<()> {
    let runtime = Builder::new().driver(DriverKind::Poll).build()?;
    annulet::serve(runtime, job)
}

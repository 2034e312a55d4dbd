//! `pread(2)` and `pwrite(2)`, one after another: the least that can be done with a file that is in memory, and what a
//! program without a runtime does.

use super::Contender;
use crate::works;

pub(super) const CONTENDER: Contender = Contender {
    name: "pread",
    about: "system calls, one after another, whatever the depth",
    services: &[],
    works: works::pread::WORKS,
};

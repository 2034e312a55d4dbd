//! Programs to start, feed, read from and wait for; named as in [`std::process`].
//!
//! | what | where |
//! | --- | --- |
//! | what is to be run, and how | [`Command`] |
//! | what runs | [`Child`], its [`ChildStdin`], [`ChildStdout`], [`ChildStderr`] |
//! | all it prints, within limits | [`Command::output`], [`Child::wait_with_output`]: a [`Capture`] |
//!
//! **Starting** is the standard library's: it blocks the thread until the program's file is open and its process made,
//! usually by way of `vfork`, some 0.2 ms on an idle machine. (Nothing in io_uring starts a process.) The ring's
//! descriptors, and all that Annulet opens, are close-on-exec: the program gets what it is given.
//!
//! **Waiting** goes through the ring: `IORING_OP_WAITID` on a pidfd, Linux 6.7, and a poll of the pidfd before. It only
//! looks; the child is reaped by a call of its own afterwards, so a wait that is dropped loses no status.
//!
//! **No zombies.** A [`Child`] that is dropped before it was waited for runs on (or is killed:
//! [`Command::kill_on_drop`]), and is reaped when it has ended: by one thread for the whole process, started for the
//! first such child and gone after the last (`orphans.rs`). It waits for these children and no others, so what other
//! code started, and waits for itself, is left to it; `SIGCHLD` is not touched.
//!
//! **No strangers hit.** A child is signalled by way of its pidfd, which means this process for ever, whatever becomes
//! of its number.

mod capture;
mod child;
mod command;
mod orphans;

pub use std::process::{ExitStatus, Output, Stdio};

pub use self::capture::{Capture, Incomplete};
pub use self::child::{Child, ChildStderr, ChildStdin, ChildStdout};
pub use self::command::Command;

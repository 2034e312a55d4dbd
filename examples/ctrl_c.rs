//! Ctrl-C as something to await; `SIGTERM` and `SIGHUP` count as Ctrl-C.
//!
//! The first one asks the program to end in its own way, the second ends it on the spot.

use std::convert::Infallible;
use std::io;

use futures_lite::future::or;
use runtime::signal::unix::{Signal, SignalKind, signal};

/// How the shell reports a program that `SIGINT` has ended.
const EXIT_CODE: i32 = 130;

/// Knows whether Ctrl-C was pressed. Any number of tasks and threads can have a clone and ask.
#[derive(Clone)]
pub(crate) struct CtrlC {
    /// Never carries anything; it is closed by the first Ctrl-C.
    open: async_channel::Receiver<Infallible>,
}

impl CtrlC {
    /// Takes the signals over, in the runtime this is called in.
    pub(crate) fn listen() -> io::Result<CtrlC> {
        let mut signals = [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ];
        let (close, open) = async_channel::bounded(1);
        runtime::spawn(async move {
            any(&mut signals).await;
            close.close();
            any(&mut signals).await;
            std::process::exit(EXIT_CODE);
        });
        Ok(CtrlC { open })
    }

    /// Waits for the first Ctrl-C; returns at once if it was pressed already.
    pub(crate) async fn pressed(&self) {
        let Err(async_channel::RecvError) = self.open.recv().await;
    }

    /// Whether it was pressed.
    #[allow(dead_code, reason = "for examples with work that is not async")]
    pub(crate) fn was_pressed(&self) -> bool {
        self.open.is_closed()
    }
}

async fn any([interrupt, terminate, hangup]: &mut [Signal; 3]) {
    or(interrupt.recv(), or(terminate.recv(), hangup.recv())).await;
}

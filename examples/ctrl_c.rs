//! Ctrl-C as something to await; `SIGTERM` and `SIGHUP` count as Ctrl-C.
//!
//! The first one asks the program to end in its own way, the second ends it on the spot.

use std::convert::Infallible;

/// How the shell reports a program that `SIGINT` has ended.
const EXIT_CODE: i32 = 130;

/// Knows whether Ctrl-C was pressed. Any number of tasks and threads can have a clone and ask.
#[derive(Clone)]
pub(crate) struct CtrlC {
    /// Never carries anything; it is closed by the first Ctrl-C.
    open: async_channel::Receiver<Infallible>,
}

impl CtrlC {
    /// Takes the signals over. To be called once.
    pub(crate) fn listen() -> Result<CtrlC, ctrlc::Error> {
        let (close, open) = async_channel::bounded(1);
        // This runs on a thread of its own, not in the signal handler. Closing the channel wakes those who wait;
        // the waker of a task knows the way to its runtime from any thread.
        ctrlc::set_handler(move || {
            let first = close.close();
            if !first {
                std::process::exit(EXIT_CODE);
            }
        })?;
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

//! The command line.

use std::time::Duration;

use lexopt::prelude::*;

const HELP: &str = "\
An echo server on io_uring.

Without --listen it is started on a free port, driven with real sockets, and what came of it is printed.

    echo [--seconds N] [--connections N] [--size N] [--plain]
    echo --listen ADDRESS:PORT [--plain]

    --seconds N       how long to drive it                          (default: 3)
    --connections N   connections, each with one echo on its way    (default: 64)
    --size N          bytes an echo                                 (default: 64)
    --listen ADDR     serve any client until Ctrl-C; try it with `nc 127.0.0.1 7777`
    --plain           set up the ring as on Linux 5.19
    --help            this text
";

/// Bytes an echo may have.
const MAX_SIZE: usize = 64 << 20;
const MAX_CONNECTIONS: usize = 28_000;
const MAX_SECONDS: f64 = 86_400.0;

pub(crate) struct Options {
    /// Where to serve others; `None`: drive it here.
    pub(crate) listen: Option<String>,
    pub(crate) load: Load,
    pub(crate) plain: bool,
}

/// How the server is driven.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) duration: Duration,
    pub(crate) connections: usize,
    pub(crate) size: usize,
}

impl Options {
    /// What the program was called with; `None` if that was a call for help, which is then printed.
    pub(crate) fn parse() -> Result<Option<Options>, lexopt::Error> {
        let mut load = Load {
            duration: Duration::from_secs(3),
            connections: 64,
            size: 64,
        };
        let (mut listen, mut plain, mut drives) = (None, false, None);
        let mut args = lexopt::Parser::from_env();
        while let Some(arg) = args.next()? {
            match arg {
                Long("listen") => listen = Some(args.value()?.string()?),
                Long("plain") => plain = true,
                Long("seconds") => {
                    let seconds = args.value()?.parse_with(|s| within(s, 0.01, MAX_SECONDS))?;
                    load.duration = Duration::from_secs_f64(seconds);
                    drives = Some("--seconds");
                }
                Long("connections") => {
                    load.connections = args
                        .value()?
                        .parse_with(|s| within(s, 1, MAX_CONNECTIONS))?;
                    drives = Some("--connections");
                }
                Long("size") => {
                    load.size = args.value()?.parse_with(|s| within(s, 1, MAX_SIZE))?;
                    drives = Some("--size");
                }
                Long("help") | Short('h') => {
                    print!("{HELP}");
                    return Ok(None);
                }
                other => return Err(other.unexpected()),
            }
        }
        match (&listen, drives) {
            (Some(_), Some(option)) => Err(format!(
                "with --listen the clients are others: {option} says nothing to them"
            )
            .into()),
            _ => Ok(Some(Options {
                listen,
                load,
                plain,
            })),
        }
    }
}

/// A number that lies between two others.
fn within<T>(text: &str, least: T, most: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    match text.parse() {
        Ok(number) if least <= number && number <= most => Ok(number),
        _ => Err(format!("it takes a number from {least} to {most}")),
    }
}

//! The command line.

use std::path::PathBuf;

use lexopt::prelude::*;

const HELP: &str = "\
A server of static files on io_uring.

    serve DIR [--listen ADDRESS:PORT]

    DIR               the directory; nothing outside of it is served
    --listen ADDR     where to listen                           (default: 127.0.0.1:8000)
    --help            this text
";

pub(crate) struct Options {
    pub(crate) dir: PathBuf,
    pub(crate) listen: String,
}

impl Options {
    /// What the program was called with; `None` if that was a call for help, which is then printed.
    pub(crate) fn parse() -> Result<Option<Options>, lexopt::Error> {
        let (mut dir, mut listen) = (None, "127.0.0.1:8000".to_owned());
        let mut args = lexopt::Parser::from_env();
        while let Some(arg) = args.next()? {
            match arg {
                Long("listen") => listen = args.value()?.string()?,
                Short('h') | Long("help") => {
                    print!("{HELP}");
                    return Ok(None);
                }
                Value(path) if dir.is_none() => dir = Some(PathBuf::from(path)),
                arg => return Err(arg.unexpected()),
            }
        }
        let dir = dir.ok_or("which directory is to be served?")?;
        Ok(Some(Options { dir, listen }))
    }
}

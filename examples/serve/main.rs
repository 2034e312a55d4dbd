//! A server of static files over HTTP/1.1.
//!
//! ```sh
//! cargo run --release --example serve -- .                               # http://127.0.0.1:8000/
//! cargo run --release --example serve -- target/doc --listen 0.0.0.0:80
//! ```
//!
//! `GET` and `HEAD`, connections kept alive, ranges, conditional requests, an index, types by name. No request
//! leads out of the directory: the kernel resolves each path beneath it (`openat2(2)`), symbolic links and all.
//! Ctrl-C ends it in good order: what is on its way is sent first.
//!
//! `request.rs` understands what is asked, `files.rs` finds it, `response.rs` writes the answer, `server.rs` holds it
//! together.

#[path = "../advice.rs"]
mod advice;
mod files;
mod options;
mod request;
mod response;
mod server;

use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar};
use runtime::signal::unix::{SignalKind, signal};
use runtime::time::interval;

use crate::advice::explain;
use crate::options::Options;
use crate::server::{Served, Server};

/// How often the line that tells what was served is written anew.
const TELL_EVERY: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let result = match Options::parse() {
        Ok(Some(options)) => run(&options),
        Ok(None) => Ok(()),
        Err(error) => Err(format!("{error}\n  --help tells what there is")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("serve: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let runtime =
        runtime::Runtime::new().map_err(|error| format!("cannot make a ring: {error}"))?;
    runtime.block_on(serve(options))
}

async fn serve(options: &Options) -> Result<(), String> {
    let dir = options.dir.display();
    let files = files::Files::open(&options.dir).await;
    let files = files.map_err(|error| format!("cannot serve {dir}: {error}"))?;
    let server = Server::bind(&options.listen, files).await;
    let server =
        Rc::new(server.map_err(|error| {
            explain(format_args!("cannot listen at {}", options.listen), &error)
        })?);
    let addr = server.addr().map_err(|error| error.to_string())?;
    println!("serving {dir} at http://{addr}/; Ctrl-C ends it");

    let telling = runtime::spawn(tell(server.clone()));
    let stopping = runtime::spawn(stop_by_signal(server.clone()));
    let result = server.clone().run().await;
    telling.abort();
    stopping.abort();
    println!("served {}", summary(server.served()));
    result.map_err(|error| error.to_string())
}

/// Ends the server at Ctrl-C, or when the system asks for it.
async fn stop_by_signal(server: Rc<Server>) -> io::Result<()> {
    let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
    let (mut interrupt, mut terminate) = (signal(interrupt)?, signal(terminate)?);
    futures_lite::future::or(interrupt.recv(), terminate.recv()).await;
    server.stop();
    Ok(())
}

/// Keeps a line up to date, where there is a terminal to keep it on.
async fn tell(server: Rc<Server>) {
    let line = ProgressBar::new_spinner();
    let mut ticks = interval(TELL_EVERY);
    loop {
        ticks.tick().await;
        line.set_message(summary(server.served()));
        line.tick();
    }
}

fn summary(served: Served) -> String {
    format!(
        "{} requests, {}, {} connections",
        HumanCount(served.requests),
        HumanBytes(served.bytes),
        HumanCount(served.connections),
    )
}

//! An echo server, and the proof that it echoes.
//!
//! ```sh
//! cargo run --release --example echo                              # drives itself and prints a table
//! cargo run --release --example echo -- --connections 1000 --size 4096 --seconds 10
//! cargo run --release --example echo -- --listen 127.0.0.1:7777   # serves others: nc 127.0.0.1 7777
//! ```
//!
//! The server is all in `server.rs`. `load.rs` drives it from another thread with sockets that have nothing to do
//! with the runtime, and compares every byte. Ctrl-C ends either in good order, and prints the table.

#[path = "../advice.rs"]
mod advice;
#[path = "../ctrl_c.rs"]
mod ctrl_c;
mod load;
mod options;
mod report;
mod server;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use blocking::unblock;
use runtime::Runtime;
use rustix::process::{Resource, getrlimit};

use crate::advice::explain;
use crate::ctrl_c::CtrlC;
use crate::load::{Clients, Outcome};
use crate::options::{Load, Options};
use crate::report::RingWork;
use crate::server::Server;

/// Standard streams, the ring, the listener, and some to spare.
const OTHER_DESCRIPTORS: u64 = 24;

fn main() -> ExitCode {
    let result = match Options::parse() {
        Ok(Some(options)) => run(&options),
        Ok(None) => Ok(()),
        Err(error) => Err(format!("{error}\n  --help tells what there is")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let runtime = runtime::Builder::new()
        .plain(options.plain)
        .build()
        .map_err(|error| format!("cannot make a ring: {error}"))?;
    match &options.listen {
        Some(addr) => runtime.block_on(serve(&runtime, addr)),
        None => {
            check_descriptors(options.load.connections)?;
            runtime.block_on(drive(&runtime, options.load))
        }
    }
}

fn listen_for_ctrl_c() -> Result<CtrlC, String> {
    CtrlC::listen().map_err(|error| format!("cannot take over Ctrl-C: {error}"))
}

/// Serves others until Ctrl-C.
async fn serve(runtime: &Runtime, addr: &str) -> Result<(), String> {
    let ctrl_c = listen_for_ctrl_c()?;
    let server = bind(addr).await?;
    println!("echoing on {}; Ctrl-C ends it", local_addr(&server)?);
    let (started, before) = (Instant::now(), runtime.driver().metrics());

    let stopper = runtime::spawn({
        let server = server.clone();
        async move {
            ctrl_c.pressed().await;
            server.stop();
        }
    });
    let result = server.clone().run().await;
    stopper.abort();

    let work = RingWork::between(&before, &runtime.driver().metrics());
    let took = started.elapsed();
    print(&report::served(server.served(), took, &work, runtime))?;
    result.map_err(|error| explain("accepting", &error))
}

/// Drives a server of our own for a while.
async fn drive(runtime: &Runtime, load: Load) -> Result<(), String> {
    let ctrl_c = listen_for_ctrl_c()?;
    let server = bind("127.0.0.1:0").await?;
    let serving = runtime::spawn(server.clone().run());
    let outcome = measure(runtime, local_addr(&server)?, load, &ctrl_c).await;

    // In good order even if the clients have failed.
    server.stop();
    let served = serving
        .await
        .map_err(|error| format!("the server: {error}"))?;
    let (outcome, work) = outcome?;
    served.map_err(|error| explain("accepting", &error))?;
    print(&report::driven(load, &outcome, &work, runtime))
}

/// Lets the clients do their work on another thread, and looks at what the ring does meanwhile.
async fn measure(
    runtime: &Runtime,
    addr: SocketAddr,
    load: Load,
    ctrl_c: &CtrlC,
) -> Result<(Outcome, RingWork), String> {
    let clients = unblock(move || Clients::connect(addr, load)).await?;
    let before = runtime.driver().metrics();
    let ctrl_c = ctrl_c.clone();
    let outcome = unblock(move || clients.run(&ctrl_c)).await?;
    Ok((
        outcome,
        RingWork::between(&before, &runtime.driver().metrics()),
    ))
}

/// Prints, unless nobody listens: `echo | head` is no failure.
fn print(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot print: {error}"))
        }
        _ => Ok(()),
    }
}

async fn bind(addr: &str) -> Result<Rc<Server>, String> {
    match Server::bind(addr).await {
        Ok(server) => Ok(Rc::new(server)),
        Err(error) => Err(explain(format_args!("cannot listen at {addr}"), &error)),
    }
}

fn local_addr(server: &Server) -> Result<SocketAddr, String> {
    server
        .addr()
        .map_err(|error| format!("the listener's address: {error}"))
}

/// Both ends of each connection are in this process: better to say at once that they have no room.
fn check_descriptors(connections: usize) -> Result<(), String> {
    let needed = 2 * connections as u64 + OTHER_DESCRIPTORS;
    match getrlimit(Resource::Nofile).current {
        Some(allowed) if allowed < needed => Err(format!(
            "{connections} connections need {needed} descriptors, as both ends are here, and {allowed} are allowed\n  \
             allow more with `ulimit -n {needed}`, or take fewer `--connections`"
        )),
        _ => Ok(()),
    }
}

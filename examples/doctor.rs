//! Looks at this machine: which ring a program gets, why, what it carries out, and what would make it better.
//!
//! ```sh
//! cargo run --example doctor
//! ANNULET_DRIVER=poll cargo run --example doctor
//! ```
//!
//! The exit code is 1 where no ring can be had at all. Colours only at a terminal, and not with `NO_COLOR`.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let report = runtime::doctor();
    let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut out = io::stdout().lock();
    for line in report.to_string().lines() {
        let written = match colour(line).filter(|_| colours) {
            Some(colour) => writeln!(out, "\x1b[{colour}m{line}\x1b[0m"),
            None => writeln!(out, "{line}"),
        };
        match written {
            // Whoever reads it has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            Err(error) => {
                eprintln!("doctor: cannot print: {error}");
                return ExitCode::FAILURE;
            }
            Ok(()) => {}
        }
    }
    ExitCode::from(u8::from(report.driver.is_err()))
}

/// A heading stands out; what is well is green, what is done in another way yellow, what is missing red.
fn colour(line: &str) -> Option<&'static str> {
    if !line.starts_with(' ') {
        return Some("1");
    }
    match line.split_whitespace().next()? {
        "ring" => Some("32"),
        "instead" => Some("33"),
        "missing" => Some("31"),
        "do" => Some("36"),
        _ => None,
    }
}
